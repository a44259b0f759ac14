"""`sidecart doctor`: what Dapr's YAML, its environment and running sidecars say about events that will be lost."""
