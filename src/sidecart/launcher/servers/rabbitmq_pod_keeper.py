"""Supervises sidecars next to RabbitMQ on Kubernetes, as rabbitmq_keeper.py does in containers.

`python -m sidecart.launcher.servers.rabbitmq_pod_keeper --selector LABEL=VALUE --app-label LABEL`

There a sidecar listens in its pod only. So the keeper evicts the pod of a sidecar whose consumers
stay wrong, and Kubernetes starts another one. An eviction respects the disruption budget. It may
list pods and evict them, and nothing else.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecart.launcher.servers.gone_gateways import ALIVE
from sidecart.launcher.servers.rabbitmq import ENV, RabbitMq
from sidecart.launcher.servers.rabbitmq_keeper import CALL_SECONDS_MAX, LOOK_SECONDS, LOST_SECONDS, Keeper
from sidecart.launcher.topics import GATEWAY, Subscription, app_ids
from sidecart.launcher.topology import app_of, pod_name_of, reader_of, readers, replicas_of

IDENTITY = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder in which each pod finds its namespace, its token and the API server's authority."""
ENDED = ("Succeeded", "Failed")
"""The phases of pods that have ended, such as evicted ones; they stay in the list."""
PAUSE_SECONDS_MAX = 3600.0
"""The longest pause between two evictions that did not help."""
REASON_MAX = 300


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of an app."""

    name: str
    app_id: str
    created: str
    """When, as ISO 8601; a later one is larger."""
    is_ready: bool
    """Whether it is ready and not about to end."""


class ApiServer:
    """The part of the API server that the keeper uses; each method raises OSError."""

    def __init__(self, url: str, identity: Path = IDENTITY) -> None:
        self._identity = identity
        namespace = (identity / "namespace").read_text(encoding="ascii").strip()
        self._pods = f"{url}/api/v1/namespaces/{namespace}/pods"
        authority = identity / "ca.crt"
        context = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None
        handlers = [
            urllib.request.ProxyHandler({}),
            *([urllib.request.HTTPSHandler(context=context)] if context else []),
        ]
        self._opener = urllib.request.build_opener(*handlers)

    def pods(self, selector: str, app_label: str) -> list[Pod]:
        """Return the pods of the apps that a label selector selects, oldest first."""
        found = self._call(f"{self._pods}?{urllib.parse.urlencode({'labelSelector': selector})}")
        items = [each for each in found["items"] if each.get("status", {}).get("phase") not in ENDED]
        pods = [_pod(each, app_label) for each in items]
        return sorted((each for each in pods if each.app_id in app_ids()), key=lambda each: each.created)

    def evict(self, pod: str) -> None:
        """Evict a pod; the disruption budget may refuse it (429)."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        self._call(f"{self._pods}/{urllib.parse.quote(pod)}/eviction", json.dumps(eviction).encode())

    def _call(self, url: str, body: bytes | None = None) -> dict[str, Any]:
        # the kubelet replaces the token within the hour
        token = (self._identity / "token").read_text(encoding="ascii").strip()
        head = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        try:
            with self._opener.open(urllib.request.Request(url, body, head), timeout=CALL_SECONDS_MAX) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace")[:REASON_MAX]
            raise OSError(f"the API server answers {error.code}: {reason}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"the API server does not answer completely: {error!r}") from error


def _pod(found: Mapping[str, Any], app_label: str) -> Pod:
    head, status = found["metadata"], found.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    is_ready = conditions.get("Ready") == "True" and "deletionTimestamp" not in head
    return Pod(head["name"], head.get("labels", {}).get(app_label, ""), head["creationTimestamp"], is_ready)


def replicas(pods: Sequence[Pod]) -> list[str]:
    """Return the replicas that these pods are, as the launcher names them."""
    counts = {app_id: sum(each.app_id == app_id for each in pods) for app_id in app_ids()}
    gateways = [GATEWAY if each.name == pod_name_of(GATEWAY) else each.name for each in pods if each.app_id == GATEWAY]
    services = [
        name
        for app_id, number in counts.items()
        if app_id != GATEWAY and number
        for name in replicas_of(app_id, number)
    ]
    return [*gateways, *services]


def pods_of(name: str, pods: Sequence[Pod]) -> list[Pod]:
    """Return the pods that read what a gateway, or the replicas of a service, read."""
    if app_of(name) == GATEWAY:
        return [each for each in pods if each.name == pod_name_of(name)]
    return [each for each in pods if each.app_id == name]


class PodKeeper:
    """Records how long the pods of an app have read incorrectly, and how often it evicted one."""

    def __init__(self) -> None:
        self._keeper = Keeper()
        self._evictions: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}

    def forget(self) -> None:
        """Start the times again: without a comparison nothing is known."""
        self._keeper = Keeper()

    def to_evict(self, lost: Iterable[Subscription], pods: Sequence[Pod], now: float) -> list[str]:
        """Return the pods to evict: of each app that has read incorrectly for long its oldest one.

        Nothing is counted while a pod of the app starts or ends. If an eviction does not help, the
        next one waits twice as long, at most PAUSE_SECONDS_MAX.
        """

        def is_ready(name: str) -> bool:
            found = pods_of(name, pods)
            return bool(found) and all(each.is_ready for each in found)

        wrong = list(lost)
        for name in [each for each in self._evictions if is_ready(each)]:
            if name not in map(reader_of, wrong):
                del self._evictions[name], self._not_before[name]
        steady = [one for one in wrong if is_ready(reader_of(one))]
        names = [name for name in self._keeper.to_end(steady, is_ready, now) if now >= self._not_before.get(name, now)]
        for name in names:
            self._evictions[name] += 1
            self._not_before[name] = now + min(LOST_SECONDS * 2 ** self._evictions[name], PAUSE_SECONDS_MAX)
        return [pods_of(name, pods)[0].name for name in names]


def look(keeper: PodKeeper, broker: RabbitMq, address: str, pods: Sequence[Pod], now: float) -> list[str]:
    """Compare the readers with the pods, and return the pods to evict.

    Raises OSError if the broker is unreachable.
    """
    return keeper.to_evict(broker.unread(address, readers(replicas(pods), addressed=True)), pods, now)


def watch(api: ApiServer, address: str, selector: str, app_label: str, stopped: threading.Event) -> None:
    """Compare every few seconds until stopped; print each change."""
    keeper, broker, message = PodKeeper(), RabbitMq(), ""
    while True:
        ALIVE.touch()
        found: Sequence[str] = ()
        try:
            found = look(keeper, broker, address, api.pods(selector, app_label), time.monotonic())
            now = "the broker and the API server answer"
        except OSError as error:
            keeper.forget()
            now = f"no comparison: {error}"
        if now != message:  # only on a change, not every five seconds
            print(now, flush=True)
            message = now
        for name in found:
            print(f"the sidecar of {name} reads incorrectly: {_evict(api, name)}", flush=True)
        if stopped.wait(LOOK_SECONDS):
            return


def _evict(api: ApiServer, name: str) -> str:
    """Evict a pod; return the outcome, also of a refusal, which concerns this pod only."""
    try:
        api.evict(name)
    except OSError as error:
        return f"it was not evicted: {error}"
    return "evicted the pod"


def main() -> None:
    """Read the settings and supervise until SIGTERM."""
    parser = argparse.ArgumentParser(description="Evicts pods whose sidecars read incorrectly from RabbitMQ.")
    parser.add_argument("--selector", required=True, help="the labels of the pods of all apps, as LABEL=VALUE,...")
    parser.add_argument("--app-label", required=True, help="the label whose value is the app-id")
    options = parser.parse_args()
    names = (ENV, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
    if missing := [name for name in names if not os.environ.get(name)]:
        sys.exit(f"setting {', '.join(missing)}: is missing; the keeper runs in a cluster")
    address, host, port = (os.environ[name] for name in names)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    watch(ApiServer(url), address, options.selector, options.app_label, stopped)


if __name__ == "__main__":
    main()
