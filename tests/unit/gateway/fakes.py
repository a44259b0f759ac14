"""A sidecar that remembers what it was asked, for the gateway's units."""

import asyncio
from collections.abc import Callable

import msgspec

from chassis.sidecar import Answer, HttpSidecar


class FakeSidecar(HttpSidecar):
    """Publishes into a list; each publish may be made to fail, each invocation is answered by a function."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, object]]] = []
        self.publish_errors: list[Exception] = []
        self.invoked: list[str] = []
        self.answer: Callable[[str, str], Answer] = lambda _app_id, _path: Answer(404, b"{}")
        self.was_published = asyncio.Event()

    async def publish(self, topic: str, event: bytes) -> None:
        """Remember one event, or fail as told."""
        if self.publish_errors:
            raise self.publish_errors.pop(0)
        self.published.append((topic, msgspec.json.decode(event)))
        self.was_published.set()

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """Answer as told."""
        self.invoked.append(f"{app_id}{path}")
        return self.answer(app_id, path)
