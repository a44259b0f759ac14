"""The services. Each one is a pure step function that the chassis runs."""
