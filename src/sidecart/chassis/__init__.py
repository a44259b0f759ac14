"""The microservice chassis: the event processor that runs every service, and its sidecar client."""
