"""The logs of all pods, merged, with the pod and the container of each line."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sidecart.kubernetes import names, states
from sidecart.kubernetes.kubectl import Kubectl, KubectlError
from sidecart.kubernetes.states import WorkloadState
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted
from sidecart.launcher.topology import app_for_sidecar, sidecar_of

SIDECAR = "daprd"
"""The container that the injector adds."""
RESCAN_SECONDS = 2.0
"""How long the lines of a new pod may be late."""
LINE_WAIT_SECONDS = 0.2
LINES_MAX = 10_000
"""The number of lines in memory; a slower terminal stops the streams."""


@dataclass(frozen=True, slots=True)
class Source:
    """One run of a container."""

    workload: str
    pod: str
    uid: str
    """The pods of a StatefulSet keep their names."""
    container: str
    run: int
    """The number of its restarts."""

    @property
    def name(self) -> str:
        """The name of the process, as the launcher calls it: the sidecar's ends in -sidecar."""
        return sidecar_of(self.pod) if self.container == SIDECAR else self.pod


def sources(kubectl: Kubectl, name: str | None) -> list[Source]:
    """Return the containers that have run; with a name only those of one log."""
    return selected(states.read(kubectl), name)


def selected(workloads: Iterable[WorkloadState], name: str | None) -> list[Source]:
    """Return the containers of these workloads that have run, and that have this name."""
    found = [source for each in workloads for source in _of_workload(each)]
    if name is None:
        return found
    app_id = app_for_sidecar(name)
    wanted = app_id or name
    own = [each for each in found if wanted in (each.workload, each.pod)]
    return [each for each in own if (each.container == SIDECAR) == (app_id is not None)]


def _of_workload(workload: WorkloadState) -> Iterator[Source]:
    for pod in workload.pods:
        for each in pod.containers:
            if each.has_run:
                yield Source(workload.name, pod.name, pod.uid, each.name, each.restarts)


def last_lines(kubectl: Kubectl, source: Source, count: int) -> list[str]:
    """Return the last lines of a container; none if it has just been replaced."""
    try:
        return kubectl("logs", source.pod, "-c", source.container, f"--tail={count}").splitlines()
    except KubectlError:
        return []


class Followed:
    """The lines of all containers from now on, also of pods and runs that start later."""

    def __init__(self, kubectl: Kubectl, name: str | None, deadline: Deadline) -> None:
        self._kubectl = kubectl
        self._name = name
        self._deadline = deadline
        self._lines: queue.Queue[tuple[Source, str]] = queue.Queue(LINES_MAX)
        self._streams: dict[Source, subprocess.Popen[str]] = {}

    def lines(self, known: list[Source], count: int) -> Iterator[tuple[Source, str]]:
        """Yield lines until a stop is requested: of the known containers the last ones first."""
        for each in known:
            self._start(each, count)
        try:
            while not self._deadline.stopped:
                yield from self._arrived(RESCAN_SECONDS)
                for each in sources(self._kubectl, self._name):
                    if each not in self._streams:
                        self._start(each, -1)
        except Interrupted:
            return
        finally:
            for stream in self._streams.values():
                stream.kill()
                stream.wait()

    def _arrived(self, seconds: float) -> Iterator[tuple[Source, str]]:
        for _ in range(round(seconds / LINE_WAIT_SECONDS)):
            self._deadline.pause(LINE_WAIT_SECONDS)
            while not self._lines.empty():
                yield self._lines.get()

    def _start(self, source: Source, count: int) -> None:
        words = self._kubectl.command("logs", "-f", source.pod, "-c", source.container, f"--tail={count}")
        stream = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._streams[source] = stream
        threading.Thread(target=self._read, args=(source, stream), daemon=True).start()

    def _read(self, source: Source, stream: subprocess.Popen[str]) -> None:
        assert stream.stdout is not None
        for line in stream.stdout:
            self._lines.put((source, line.rstrip("\n")))


def known_names(kubectl: Kubectl) -> list[str]:
    """Return the names that a log can have: workloads, and sidecars of apps."""
    workloads = states.read(kubectl)
    apps = [each.name for each in workloads if each.component in (names.GATEWAY_KIND, names.SERVICE_KIND)]
    return sorted([*(each.name for each in workloads), *map(sidecar_of, apps)])
