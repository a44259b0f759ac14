"""The chassis: the one shell that runs every service, and all that it needs of its sidecar."""
