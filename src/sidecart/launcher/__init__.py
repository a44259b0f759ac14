"""The launcher: the project's apps and topics, their processes, sidecars and servers."""
