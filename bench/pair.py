"""The two apps of the floor and their sidecars, started in a running shop.

They use the same broker, store and component files as the shop.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.floor_app import ANSWERED, ASKED, GATEWAY, READS, SERVICE
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.local_http import get
from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.topic_scopes import variables

READY_SECONDS = 60
STOP_SECONDS = 20
APPS = {GATEWAY: "gateway", SERVICE: "service"}
SCOPES = variables({GATEWAY: [ASKED], SERVICE: [ANSWERED]}, {app_id: [topic] for app_id, topic in READS.items()})
"""The topics of the two apps, which the topic list of the shop does not have."""


class Pair:
    """A context manager, used inside that of its shop."""

    def __init__(self, shop: System) -> None:
        self._shop = shop
        self._processes = Processes(Path(shop.logs))
        self.ports = {app_id: free_port() for app_id in APPS}

    @property
    def url(self) -> str:
        """The address of the floor's gateway."""
        return f"http://127.0.0.1:{self.ports[GATEWAY]}"

    @property
    def processes(self) -> dict[str, int]:
        """The pids of the two apps and of their sidecars, which the shop runs."""
        sidecars = {f"{app_id}-sidecar" for app_id in APPS}
        return self._processes.pids() | {n: pid for n, pid in self._shop.processes.items() if n in sidecars}

    def __enter__(self) -> Self:
        try:
            for app_id, word in APPS.items():
                sidecar = self._shop.sidecars.start_for(app_id, self.ports[app_id], env=SCOPES, login=ADMINISTRATOR)
                env = {
                    **plain_environment(),
                    **self._shop.tokens.pair(app_id),
                    "APP_PORT": str(self.ports[app_id]),
                    "DAPR_HTTP_PORT": str(sidecar.http_port),
                }
                words = [sys.executable, "-m", "bench.floor", word]
                self._processes.start(app_id, words, env=env, cwd=root())
            self._shop.deadline.until(
                self._answers, READY_SECONDS, lambda: f"the floor is not ready after {READY_SECONDS} s", 0.5
            )
        except BaseException:
            self._stop()
            raise
        return self

    def _answers(self) -> bool:
        return ask_once(self.ports[GATEWAY]) == 201

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for app_id in APPS:
            self._shop.sidecars.stop(app_id)
        self._processes.stop(list(APPS), STOP_SECONDS)


def ask_once(port: int) -> int:
    """Return the status of one held request; 0 when the response is late."""
    return get(port, "/ask", timeout_seconds=3.0)[0]
