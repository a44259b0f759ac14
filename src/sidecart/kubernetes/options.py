"""The options that an overlay can add: autoscaling, monitoring, tracing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from sidecart.kubernetes import names, network
from sidecart.kubernetes.documents import Document, document, text
from sidecart.launcher.project import root
from sidecart.launcher.topics import queue_name, read_topics, service_ids
from sidecart.launcher.topology import REPLICAS_MAX

KEDA_NAMESPACE, MONITORING_NAMESPACE, COLLECTOR_NAMESPACE = "keda", "monitoring", "observability"
COLLECTOR = f"collector.{COLLECTOR_NAMESPACE}:4318"
SCALER = names.KEEPER
"""The login of the keeper, which may count the events that wait."""
TRACING = "dapr/tracing.yaml"
DASHBOARD = "docs/grafana/sidecart.json"
ALERTS = "docs/grafana/alerts.yml"
JOB = "sidecart"
"""The job of the apps, as in docs/grafana/prometheus.yml.

The operator's default is `sidecart/sidecart`, which the metrics of the sidecars keep.
"""
LAG_PER_REPLICA = 100
"""The events that wait for one replica. An estimate: a replica processes about 100 in a second."""
AUTHENTICATION = "scaler"
MONITORED = {
    "matchLabels": {names.PART_LABEL: names.PROJECT},
    "matchExpressions": [
        {
            "key": names.KIND_LABEL,
            "operator": "In",
            "values": [names.GATEWAY_KIND, names.SERVICE_KIND, names.TRIMMER_KIND],
        }
    ],
}
"""Selects the pods with metrics: those of all apps, and the trimmer's."""
_SLOWLY = {"stabilizationWindowSeconds": 300}

AUTOSCALE_REASONS = {
    "minReplicaCount:": "Never 0: the gateway is not ready before each service is.",
    "advanced:": "A replica that stops gives its prefetched events back, so scale in slowly. KEDA's cooldownPeriod "
    "is for the way to 0 only.",
    "lagCount:": "Entries that the group has not read yet (Redis 7). An estimate, not measured in a cluster.",
    "value:": "Messages in the queue. An estimate, not measured in a cluster.",
}
PARAMETERS = {"redis": {"username": "REDIS_USERNAME", "password": "REDIS_PASSWORD"}, "rabbitmq": {"host": "AMQP_URL"}}
"""The parameters of KEDA's triggers, and the keys of the Secret that they read."""


def autoscale_file(broker: str) -> str:
    """Return the autoscaling of the services by the lag of their consumer groups at a broker."""
    head = "Scales each service by the events that wait for it. It needs KEDA. The gateway is not scaled: the broker "
    return text(f"{head}would keep the consumer groups of removed gateways.", _autoscale(broker), AUTOSCALE_REASONS)


def _autoscale(broker: str) -> Iterator[Document]:
    secret = names.servers_of(SCALER)
    targets = [{"parameter": each, "name": secret, "key": key} for each, key in PARAMETERS[broker].items()]
    yield document("TriggerAuthentication", AUTHENTICATION, "keda.sh/v1alpha1", spec={"secretTargetRef": targets})
    for app_id in service_ids():
        read = (name for name, topic in read_topics().items() if app_id in topic.consumers)
        triggers = [_trigger(broker, topic, app_id) for topic in read]
        yield document(
            "ScaledObject",
            app_id,
            "keda.sh/v1alpha1",
            spec={
                "scaleTargetRef": {"name": app_id},
                "minReplicaCount": 1,
                "maxReplicaCount": REPLICAS_MAX,
                "pollingInterval": 10,
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": _SLOWLY}}},
                "triggers": triggers,
            },
        )
    port = names.SERVER_PORTS[broker]
    scaler = {"from": [network.namespace(KEDA_NAMESPACE)], "ports": network.ports(port)}
    yield network.policy("autoscaler", network.pods_of(broker), ingress=[scaler])


def _trigger(broker: str, topic: str, group: str) -> dict[str, Any]:
    lag = str(LAG_PER_REPLICA)
    settings = {
        "redis": {
            "address": f"{names.server_host('redis')}:{names.SERVER_PORTS['redis']}",
            "stream": topic,
            "consumerGroup": group,
            "lagCount": lag,
        },
        "rabbitmq": {"protocol": "amqp", "queueName": queue_name(group, topic), "mode": "QueueLength", "value": lag},
    }
    kinds = {"redis": "redis-streams", "rabbitmq": "rabbitmq"}
    return {"type": kinds[broker], "metadata": settings[broker], "authenticationRef": {"name": AUTHENTICATION}}


def monitoring_file() -> str:
    """Return the scraping of apps and sidecars, and the dashboard."""
    head = "Metrics and alerts for the Prometheus Operator, and the dashboard for Grafana's sidecar."
    alerts: Any = yaml.safe_load((root() / ALERTS).read_text(encoding="utf-8"))
    dashboard = (root() / DASHBOARD).read_text(encoding="utf-8")
    pod = [
        {"sourceLabels": [f"__meta_kubernetes_pod_label_{_in_label(names.NAME_LABEL)}"], "targetLabel": "app"},
        {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "replica"},
    ]
    job = {"replacement": JOB, "targetLabel": "job"}
    endpoints = [
        {"port": port, "interval": "15s", "relabelings": relabelings}
        for port, relabelings in (("metrics", [job, *pod]), ("dapr-metrics", pod))
    ]
    scrape = {
        "from": [network.namespace(MONITORING_NAMESPACE)],
        "ports": network.ports(names.METRICS_PORT, names.SIDECAR_METRICS_PORT),
    }
    found = [
        document(
            "PodMonitor",
            "sidecart",
            "monitoring.coreos.com/v1",
            spec={"selector": MONITORED, "podMetricsEndpoints": endpoints},
        ),
        document("PrometheusRule", "sidecart", "monitoring.coreos.com/v1", spec=alerts),
        document(
            "ConfigMap", "sidecart-dashboard", labels={"grafana_dashboard": "1"}, data={"sidecart.json": dashboard}
        ),
        network.policy("metrics", MONITORED, ingress=[scrape]),
    ]
    return text(
        head, found, {"relabelings:": "The labels of the launcher's targets, which the dashboard and the alerts use."}
    )


def _in_label(name: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in name)


def monitored_configuration() -> Document:
    """Return the part of a Configuration that turns on the metrics of the sidecars."""
    return {"spec": {"metrics": {"enabled": True}}}


def tracing_file() -> str:
    """Return the way of the spans to the collector."""
    out = {"to": [network.namespace(COLLECTOR_NAMESPACE)], "ports": network.ports(int(COLLECTOR.rpartition(":")[2]))}
    found = [network.policy("tracing", network.SIDECARS, egress=[out])]
    return text("Spans of the apps and the sidecars go to a collector (OTLP over HTTP).", found)


def tracing_settings() -> dict[str, str]:
    """Return the settings by which the apps export spans."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{COLLECTOR}"}


def traced_configuration() -> Document:
    """Return the part of a Configuration by which the sidecars export spans."""
    source: Any = yaml.safe_load((root() / TRACING).read_text(encoding="utf-8"))
    collector = {"endpointAddress": COLLECTOR, "isSecure": False, "protocol": "http"}
    return {"spec": {"tracing": {**source["spec"]["tracing"], "otel": collector}}}
