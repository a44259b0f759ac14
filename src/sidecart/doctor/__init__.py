"""`sidecart doctor`: finds configuration that can lose events, in files and in running sidecars."""
