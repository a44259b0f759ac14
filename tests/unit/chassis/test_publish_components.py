"""Several components publish, as many as the sidecar reports."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
from aiohttp import web

from sidecart.chassis import publish_components
from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.publish_components import COMPONENTS_MAX, PublishComponents, is_further
from sidecart.chassis.server.serve import background
from sidecart.chassis.sidecar import Sidecar, connect
from tests.unit.chassis.daprd import Daprd, daprd, until

FOUR = ["pubsub", "pubsub-2", "pubsub-3", "pubsub-4"]
APIS = ["http", "grpc"]


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    """Run a test over each API of the sidecar."""
    return str(request.param)


def client(fake: Daprd, api: str = "http") -> AbstractAsyncContextManager[Sidecar]:
    """Return a client of this API."""
    return connect(fake.port, "out-token", dapr_grpc_port=fake.grpc_port if api == "grpc" else None)


def play(scenario: Callable[[Daprd, Sidecar], Awaitable[None]], api: str = "http") -> None:
    """Run one scenario against one fake daprd."""

    async def run() -> None:
        async with daprd() as fake, client(fake, api) as sidecar:
            await scenario(fake, sidecar)

    asyncio.run(run())


def used(fake: Daprd) -> Counter[str]:
    """Return how many publishes each component got."""
    return Counter(call.path.split("/")[3] for call in fake.calls)


def test_concurrent_publishes_use_all_components_alike(api: str) -> None:
    """Four components get a quarter each, over both APIs."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components = FOUR
        await sidecar.publish_components.find()

        await asyncio.gather(*(sidecar.publish("Lamp", b"{}") for _ in range(40)))
        assert dict.fromkeys(FOUR, 10) == used(fake)

    play(scenario, api)


def test_one_component_publishes_all(api: str) -> None:
    """A folder with `pubsub` alone works as before."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.publish_components.find()

        await asyncio.gather(*(sidecar.publish("Lamp", b"{}") for _ in range(10)))
        assert {"pubsub": 10} == used(fake)

    play(scenario, api)


def test_before_the_sidecar_has_answered_pubsub_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No publish waits for the question, and the question is repeated until the sidecar answers."""
    monkeypatch.setattr(publish_components, "PAUSE_SECONDS", 0.001)

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components = FOUR
        fake.metadata_answers = [web.Response(status=500) for _ in range(3)]
        await sidecar.publish("Lamp", b"{}")
        assert ("pubsub",) == sidecar.publish_components.names

        async with background(sidecar.publish_components.find()):
            await until(lambda: tuple(FOUR) == sidecar.publish_components.names)

    play(scenario)


def test_a_sidecar_that_does_not_run_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app starts before its sidecar does."""
    monkeypatch.setattr(publish_components, "PAUSE_SECONDS", 0.001)

    components = PublishComponents(Reports("pubsub-2", silent_for=3))
    asyncio.run(components.find())

    assert ("pubsub", "pubsub-2") == components.names


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=403),
        web.Response(status=404),
        web.Response(body=b"{"),
        web.Response(body=b'{"components": 5}'),
        web.Response(body=b"{}"),
    ],
    ids=["forbidden", "absent", "not JSON", "not a list", "no list"],
)
def test_without_a_readable_answer_pubsub_publishes_alone(answer: web.Response) -> None:
    """A Configuration may forbid the metadata."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components, fake.metadata_answers = FOUR, [answer]
        await sidecar.publish_components.find()

        assert ("pubsub",) == sidecar.publish_components.names
        await sidecar.publish("Lamp", b"{}")

    play(scenario)


def test_a_store_of_such_a_name_does_not_publish() -> None:
    """The fake daprd reports a store `pubsub-9`; other brokers have other names."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components = ["inbox", "replies", "pubsub", "pubsub-2", "pubsub-two"]
        await sidecar.publish_components.find()

        assert ("pubsub", "pubsub-2") == sidecar.publish_components.names

    play(scenario)


def test_the_number_of_components_is_bounded() -> None:
    """The first ones by number count."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components = ["pubsub", *(f"pubsub-{number}" for number in range(12, 1, -1))]
        await sidecar.publish_components.find()

        assert ("pubsub", *(f"pubsub-{number}" for number in range(2, 9))) == sidecar.publish_components.names
        assert COMPONENTS_MAX == len(sidecar.publish_components.names)

    play(scenario)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pubsub-2", True),
        ("pubsub-10", True),
        ("pubsub", False),
        ("pubsub-1", False),
        ("pubsub-02", False),
        ("pubsub-two", False),
        ("my-pubsub-2", False),
    ],
)
def test_further_components_have_numbers_from_two(name: str, expected: bool) -> None:
    """`pubsub` is the first one."""
    assert expected == is_further(name)


def test_a_component_that_hangs_gets_no_more_than_the_others_have() -> None:
    """A publish that waits counts, so the next ones use the other components."""
    components = PublishComponents(Reports("pubsub-2", "pubsub-3"))
    asyncio.run(components.find())

    chosen = [components.begin() for _ in range(3)]
    for _ in range(10):  # the first one hangs, the others return at once
        for name in chosen[1:]:
            components.end(name)
        chosen[1:] = [components.begin(), components.begin()]
        assert {"pubsub-2", "pubsub-3"} == {*chosen[1:]}

    assert "pubsub" == chosen[0]


def test_a_component_that_is_gone_is_not_used_again(api: str) -> None:
    """A sidecar that restarts with fewer components refuses the publish; `pubsub` takes it."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components = FOUR
        await sidecar.publish_components.find()
        fake.components = ["pubsub", "pubsub-3"]

        await asyncio.gather(*(sidecar.publish("Lamp", b"{}") for _ in range(40)))
        assert ("pubsub", "pubsub-3") == sidecar.publish_components.names
        assert 40 == used(fake)["pubsub"] + used(fake)["pubsub-3"]

    play(scenario, api)


@pytest.mark.parametrize("status", [403, 500])
def test_a_refusal_of_another_kind_drops_no_component(status: int) -> None:
    """The caller sees it, as with one component: the outcome of a 500 is unknown."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components = FOUR
        await sidecar.publish_components.find()
        fake.answers = [web.Response(status=204), web.Response(status=status)]
        await sidecar.publish("Lamp", b"{}")

        with pytest.raises(SidecarUnavailable):
            await sidecar.publish("Lamp", b"{}")
        assert {"pubsub": 1, "pubsub-2": 1} == used(fake)
        assert tuple(FOUR) == sidecar.publish_components.names

    play(scenario)


@pytest.mark.parametrize("status", [400, 404])
def test_pubsub_is_never_dropped(status: int) -> None:
    """Without it there would be no component at all."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=status)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.publish("Lamp", b"{}")
        await sidecar.publish("Lamp", b"{}")
        assert {"pubsub": 2} == used(fake)

    play(scenario)


def test_a_failed_publish_counts_as_ended() -> None:
    """A canceled or late publish frees its component."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.components, fake.is_silent = FOUR[:2], True
        await sidecar.publish_components.find()

        for _ in range(4):
            with pytest.raises(SidecarUnavailable):
                await sidecar.publish("Lamp", b"{}", seconds_max=0.02)
        assert {"pubsub": 2, "pubsub-2": 2} == used(fake)

    play(scenario)


class Reports:
    """A sidecar that reports these components, after some calls without an answer."""

    def __init__(self, *names: str, silent_for: int = 0) -> None:
        self._body = msgspec.json.encode({"components": [{"name": each, "type": "pubsub.x"} for each in names]})
        self._silent_for = silent_for

    async def metadata(self, seconds_max: float) -> Answer:
        """Answer, or not."""
        self._silent_for -= 1
        if self._silent_for >= 0:
            raise SidecarUnavailable("not yet")
        return Answer(200, self._body)
