"""One module per server that the launcher can start: with the doctor's rules the only Python that knows one by name."""
