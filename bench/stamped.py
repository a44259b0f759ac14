"""An app that records when it serves and when it calls its sidecar: `python -m bench.stamped
<app-id> <file>`.

The product has no such switch; this module patches the app before it starts. Each span is one line:
app, action, start, end, in nanoseconds of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from sidecart.chassis.connections import Answer
from sidecart.chassis.grpc_api import GrpcApi
from sidecart.chassis.http_api import HttpApi
from sidecart.chassis.server.inbound import InboundApp
from sidecart.launcher.apps import module_of, write_program


def program(folder: Path, app_id: str, spans: Path) -> Path:
    """Write the run file that starts the stamped app in place of ours, for `Options.replaced`."""
    return write_program(folder, app_id, [sys.executable, "-m", "bench.stamped", app_id, str(spans)])


def stamp(app_id: str, file: Path) -> None:
    """Patch the functions that serve requests and that call the sidecar."""
    out = file.open("a", buffering=1, encoding="utf-8")

    def write(what: str, started: int) -> None:
        out.write(f"{app_id} {what} {started} {time.monotonic_ns()}\n")

    served = InboundApp.__call__

    async def serve(self: InboundApp, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic_ns()
        await served(self, scope, receive, send)
        if scope["type"] == "http" and scope["method"] == "POST":
            write(f"serve:{scope['path']}", started)

    def patch(api: type[HttpApi] | type[GrpcApi]) -> None:
        put, publish = api.put, api.publish

        async def stamped_put(self: Any, *arguments: Any) -> Answer:
            started = time.monotonic_ns()
            answer = await put(self, *arguments)
            write("save", started)
            return answer

        async def stamped_publish(self: Any, component: str, topic: str, *arguments: Any) -> Answer:
            started = time.monotonic_ns()
            answer = await publish(self, component, topic, *arguments)
            write(f"publish:{topic}", started)
            return answer

        api.put, api.publish = stamped_put, stamped_publish  # type: ignore[method-assign,assignment]  # see above

    InboundApp.__call__ = serve  # type: ignore[method-assign]  # this module exists to patch
    for api in (HttpApi, GrpcApi):
        patch(api)


def main() -> None:
    """Patch the app and run it."""
    app_id, file = sys.argv[1:]
    stamp(app_id, Path(file))
    importlib.import_module(module_of(app_id)).main()


if __name__ == "__main__":
    main()
