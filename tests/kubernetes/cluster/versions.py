"""The versions of the test cluster's parts."""

from sidecart.launcher.dapr_release import VERSION as DAPR

__all__ = ["COREDNS", "DAPR", "HELM", "KEDA", "KUBERNETES", "KUBE_ROUTER", "PAUSE"]

KUBERNETES = "1.33.3"
COREDNS = "1.12.0"
HELM = "3.22.0"
KEDA = "2.21.0"
KUBE_ROUTER = "2.1.0"
PAUSE = "3.10"
