"""The host names by which callers on the same machine reach a server."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def name_of(host: str) -> str:
    """Return the value of a Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and (port == "" or port.isdigit()) and not name.endswith(":") else host
