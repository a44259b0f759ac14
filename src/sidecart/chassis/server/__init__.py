"""The HTTP server of an app, and the requests with which its sidecar delivers events."""
