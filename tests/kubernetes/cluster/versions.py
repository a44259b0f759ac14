"""The versions of the test cluster's parts."""

from sidecart.launcher.dapr_release import VERSION as DAPR

__all__ = [
    "COREDNS",
    "DAPR",
    "HELM",
    "KEDA",
    "KUBERNETES",
    "KUBE_ROUTER",
    "KUBE_SCORE",
    "PAUSE",
    "PROMETHEUS_OPERATOR",
]

KUBERNETES = "1.33.3"
COREDNS = "1.12.0"
HELM = "3.22.0"
KEDA = "2.21.0"
KUBE_ROUTER = "2.1.0"
PAUSE = "3.10"
KUBE_SCORE = "1.20.0"
PROMETHEUS_OPERATOR = "0.85.0"
