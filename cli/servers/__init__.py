"""One module per server that the launcher can start: the only Python that knows a server by name."""
