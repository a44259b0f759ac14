"""The toolkit that a project of gateway, services and contracts depends on."""
