"""The names of fields in the manifests, to find a misspelled one without a cluster.

The API server knows which object has which field. This list only knows the words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAMES_TEXT = """
accessControl accessModes action address advanced alert allowed allowPrivilegeEscalation annotations api apiGroup
apiGroups apiLogging apiVersion appId args authenticationRef automountServiceAccountToken behavior capabilities cidr
clusterIP command component components configMap configMapGenerator configMapRef configuration consumerGroup
containerPort containers count data defaultAction drop duration egress emptyDir enabled enableServiceLinks env envFrom
envRef exec expr failureThreshold features fieldPath fieldRef for from fsGroup fsGroupChangePolicy groups
horizontalPodAutoscalerConfig http httpGet httpHeaders httpVerb image imagePullPolicy inbound increasedCardinality
ingress initTimeout interval ipBlock items key kind labels labelSelector lagCount lifecycle limits literals
livenessProbe logging matchExpressions matchLabels maxReplicaCount maxRetries maxSkew maxSurge maxUnavailable metadata
metrics minReplicaCount mode mountPath name nameResolution namespace namespaceSelector operations operator parameter
patch patches path periodSeconds podManagementPolicy podMetricsEndpoints podSelector policies policy policyTypes
pollingInterval port ports preStop protocol queueName readinessProbe readOnly readOnlyRootFilesystem relabelings
replacement replicas requests resources retries retry roleRef rollingUpdate rules runAsGroup runAsNonRoot runAsUser
samplingRate scaleDown scaleTargetRef scopes seccompProfile seconds secret secretKeyRef secretName secretTargetRef
securityContext selector serviceAccountName serviceName sizeLimit sleep sourceLabels spec stabilizationWindowSeconds
startupProbe strategy stream subjects subPath target targetLabel targetPort targets tcpSocket template
terminationGracePeriodSeconds timeoutSeconds to topologyKey topologySpreadConstraints tracing triggers trustDomain
type unhealthyPodEvictionPolicy value valueFrom values verbs version volumeClaimTemplates volumeMounts volumes
whenUnsatisfiable
"""
NAMES = frozenset(NAMES_TEXT.split())
FREE = frozenset({"labels", "annotations", "matchLabels", "data", "requests", "limits"})
"""Fields whose keys the manifests choose."""
NAMED = frozenset({"retries", "components"})
"""Fields whose keys are names, and whose values have fields again."""

ANNOTATIONS_TEXT = """
enabled app-id app-port app-protocol config app-token-secret api-token-secret env-from-secret enable-native-sidecar
graceful-shutdown-seconds scheduler-host-address disable-builtin-k8s-secret-store log-level log-as-json
enable-metrics metrics-port
sidecar-seccomp-profile-type sidecar-cpu-request sidecar-cpu-limit sidecar-memory-request sidecar-memory-limit
"""
ANNOTATIONS = frozenset(f"dapr.io/{each}" for each in ANNOTATIONS_TEXT.split())
"""The annotations of the injector that the manifests use (pkg/injector/annotations of dapr 1.18.2).

It ignores an annotation that it does not know.
"""


def unknown_fields(value: Any) -> Iterator[str]:
    """Yield each name of a field that is in none of the lists, at any depth."""
    if isinstance(value, list):
        for each in value:
            yield from unknown_fields(each)
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _unknown(str(name), each)


def _unknown(name: str, value: Any) -> Iterator[str]:
    if name not in NAMES and "/" not in name:  # a name with a slash is a label
        yield name
    if name == "annotations":
        yield from (each for each in value if each.startswith("dapr.io/") and each not in ANNOTATIONS)
    elif name in NAMED and isinstance(value, dict):
        yield from unknown_fields(list(value.values()))
    elif name not in FREE:
        yield from unknown_fields(value)
