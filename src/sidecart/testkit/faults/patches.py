"""An app without one safeguard: `python -m sidecart.testkit.faults.patches <app-id> <patch>`.

The product has no such switches; this module patches the app before it starts.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from dapr.proto.common.v1.common_pb2 import StateItem
from dapr.proto.runtime.v1.state_pb2 import SaveStateRequest

from sidecart.chassis.connections import Answer
from sidecart.chassis.grpc_api import GrpcApi
from sidecart.chassis.http2.call import OK
from sidecart.chassis.http_api import STATE, HttpApi
from sidecart.chassis.server import serve
from sidecart.chassis.sidecar import Sidecar
from sidecart.chassis.sidecar_api import CALL_SECONDS_MAX, STORE, SidecarApi
from sidecart.edge.held_requests import CommandDispatcher
from sidecart.edge.pending_worker import PendingWorker
from sidecart.edge.reconciler import Reconciler
from sidecart.launcher.apps import module_of, write_program
from sidecart.testkit.simulation import mutants


def no_etag(app: Any) -> None:
    """Save without comparing ETags: the last writer wins."""

    async def save(self: Sidecar, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        if etag is None:
            await original(self, key, value, None, ttl_seconds=ttl_seconds)
        else:
            answer = await overwrite(self.api, key, value)
            assert answer.status in (200, 201, 204), str(answer)

    async def overwrite(api: SidecarApi, key: str, value: bytes) -> Answer:
        if isinstance(api, HttpApi):
            return await api.call("POST", STATE, msgspec.json.encode([{"key": key, "value": msgspec.Raw(value)}]))
        assert isinstance(api, GrpcApi)
        request = SaveStateRequest(store_name=STORE, states=[StateItem(key=key, value=value)])
        reply = await api._call("SaveState", api._save, request.SerializeToString(), CALL_SECONDS_MAX)
        return Answer(204 if reply.code == OK else 500, reply.text.encode())

    original = Sidecar.save
    Sidecar.save = save  # type: ignore[method-assign]  # this module exists to patch


def no_outbox(app: Any) -> None:
    """Keep outputs in memory only, without an outbox."""
    serve.Processor = mutants.NoOutbox


def outbox_not_finished_first(app: Any) -> None:
    """Let a save drop the outbox of an earlier save."""
    serve.Processor = mutants.OutboxNotFinishedFirst


def published_once(app: Any) -> None:
    """Publish each command once, and never again."""

    async def publish(topic: str, event: bytes) -> None:
        """Pretend that the command was published."""

    def init(self: PendingWorker, *arguments: Any) -> None:
        original(self, *arguments)
        self._publish = publish

    async def publish_again(self: CommandDispatcher, command: Any, seconds_max: float) -> None:
        return None

    original = PendingWorker.__init__
    PendingWorker.__init__ = init  # type: ignore[assignment,method-assign]  # this module exists to patch
    CommandDispatcher._publish_again = publish_again  # type: ignore[method-assign]  # this module exists to patch


def no_reconciler(app: Any) -> None:
    """Write the journal of accepted commands, and never check it."""

    async def step(self: Reconciler) -> None:
        return None

    Reconciler.step = step  # type: ignore[method-assign]  # this module exists to patch


PATCHES: dict[str, Callable[[Any], None]] = {
    each.__name__.replace("_", "-"): each
    for each in (no_etag, no_outbox, outbox_not_finished_first, published_once, no_reconciler)
}


def program(folder: Path, app_id: str, what: str) -> Path:
    """Write the run file that starts the patched app in place of ours, for `Options.replaced`."""
    return write_program(folder, app_id, [sys.executable, "-m", "sidecart.testkit.faults.patches", app_id, what])


def main() -> None:
    """Patch the app and run it."""
    app_id, what = sys.argv[1:]
    app = importlib.import_module(module_of(app_id))
    PATCHES[what](app)
    app.main()


if __name__ == "__main__":
    main()
