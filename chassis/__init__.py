"""The chassis: the event processor that runs every service, and all that it needs of its sidecar."""
