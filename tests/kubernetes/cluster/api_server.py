"""An API server alone, on loopback: it stores and checks objects, and runs nothing."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.programs import Report
from sidecart.launcher.project import root
from tests.kubernetes.cluster import programs
from tests.kubernetes.cluster.control_plane import ControlPlane
from tests.kubernetes.cluster.kubectl import Kubectl

READY_SECONDS = 90
STOP_SECONDS = 10
NAMES = ("api-server", "etcd")


class ApiServer:
    """A context manager; it needs neither root nor a node."""

    def __init__(self, folder: Path, report: Report, deadline: Deadline) -> None:
        self._report = report
        self._deadline = deadline
        self._processes = Processes(folder / "logs")
        ports = free_port(), free_port()
        self._plane = ControlPlane(folder / "certificates", "127.0.0.1", free_port(), ports, str(folder / "etcd"))
        program = programs.KUBECTL.find(report, deadline)
        self.kubectl = Kubectl(program, self._plane.kubeconfig)

    def __enter__(self) -> Self:
        self._plane.create_certificates([])
        server = self._plane.api_server(programs.API_SERVER.find(self._report, self._deadline))
        try:
            for name, words in zip(reversed(NAMES), (self._plane.etcd(), server), strict=True):
                self._processes.start(name, words, env={"PATH": os.environ["PATH"]}, cwd=root())
            self._deadline.until(self._is_ready, READY_SECONDS, self._problem, 0.1)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _is_ready(self) -> bool:
        try:
            self.kubectl("get", "--raw", "/readyz")
        except RuntimeError:
            return False
        return True

    def _problem(self) -> str:
        lines = [line for name in NAMES for line in self._processes.last_lines(name)]
        return "the API server does not start: " + "\n".join(lines)

    def _stop(self) -> None:
        for name in NAMES:
            self._processes.stop([name], STOP_SECONDS)
