"""The logs, metrics and traces of an app."""
