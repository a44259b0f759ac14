"""The manifests for Kubernetes: generated from the project's components, apps and topics."""
