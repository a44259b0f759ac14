"""The Notification Service: what users are told, by e-mail."""
