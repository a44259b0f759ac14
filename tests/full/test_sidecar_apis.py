"""The client of the sidecar over both of its APIs, with a real daprd, store and broker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import uvloop
import valkey

from sidecart.chassis.errors import Conflict, SidecarTimeout, SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.http2.call import OK
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.sidecar import Sidecar as Ports
from sidecart.testkit.faults.injector import send
from tests.full import real_sidecar

APIS = ["http", "grpc"]
TOKEN = "out-token"
EVENT = '{ "specversion":"1.0", "id":"1", "type":"Lamp", "source":"toy",  "data":{"name":"Zoë \\u00e9"} }'.encode()
BROKER = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: pubsub}}
spec:
  type: pubsub.redis
  version: v1
  metadata:
    - {{name: redisHost, value: "{REDIS_HOST}"}}
    - {{name: redisUsername, value: "{REDIS_USERNAME}"}}
    - {{name: redisPassword, value: "{REDIS_PASSWORD}"}}
    - {{name: publishingScopes, value: "user=Lamp"}}
"""


@dataclass
class Real:
    """A running sidecar."""

    processes: Processes
    ports: Ports
    address: str
    broker: Path
    process: int = 0

    def start(self) -> None:
        """Start the sidecar, again on its ports."""
        self.process = real_sidecar.start(self.processes, self.ports, "redis", self.address, self.broker, token=TOKEN)

    def stop(self) -> None:
        """Stop the sidecar."""
        self.processes.stop([real_sidecar.NAME], real_sidecar.STOP_SECONDS_MAX)

    def play(self, api: str, scenario: Callable[[Sidecar], Awaitable[None]], token: str = TOKEN) -> None:
        """Run a scenario with a client of this API."""

        async def run() -> None:
            grpc_port = self.ports.grpc_port if api == "grpc" else None
            async with connect(self.ports.http_port, token, dapr_grpc_port=grpc_port) as sidecar:
                if token == TOKEN:
                    await real_sidecar.until_ready(sidecar)
                await scenario(sidecar)

        uvloop.run(run())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Run a store and a sidecar for all tests of this module."""
    folder = tmp_path_factory.mktemp("apis")
    processes, broker = Processes(folder / "logs"), folder / "broker"
    try:
        address = STORES["redis"].start(processes, folder / "data", Deadline())
        broker.mkdir()
        (broker / "pubsub.yaml").write_text(BROKER.format(**STORES["redis"].variables(address)), encoding="utf-8")
        found = Real(processes, real_sidecar.new_ports(), address, broker)
        found.start()
        yield found
    finally:
        processes.stop([real_sidecar.NAME], real_sidecar.STOP_SECONDS_MAX)
        processes.stop([valkey_server.NAME], real_sidecar.STOP_SECONDS_MAX)


@pytest.mark.parametrize("api", APIS)
def test_a_record_is_written_read_changed_and_protected(api: str, real: Real) -> None:
    """A lost race is a conflict; a key may have any characters."""

    async def scenario(sidecar: Sidecar) -> None:
        key = f"{api}:email:zoë/b?c%d@x.y"
        assert (None, None) == await sidecar.load(key)
        assert (True, False) == (await sidecar.insert(key, b'{"n":1}'), await sidecar.insert(key, b'{"n":9}'))
        value, etag = await sidecar.load(key)
        assert b'{"n":1}' == value
        await sidecar.save(key, b'{"n":2}', etag)
        with pytest.raises(Conflict):
            await sidecar.save(key, b'{"n":3}', etag)
        assert [b'{"n":2}', None, b'{"n":2}'] == await sidecar.load_many([key, "nothing", key])
        assert ("", True) == (sidecar.store.problem, await sidecar.answers())

    real.play(api, scenario)


@pytest.mark.parametrize("api", APIS)
def test_a_record_with_a_lifetime_ends(api: str, real: Real) -> None:
    """The store deletes it."""

    async def scenario(sidecar: Sidecar) -> None:
        await sidecar.save(f"{api}:short", b"1", None, ttl_seconds=1)
        async with asyncio.timeout(20):
            while (await sidecar.load(f"{api}:short"))[0] is not None:  # noqa: ASYNC110  # no event announces it
                await asyncio.sleep(0.1)

    real.play(api, scenario)


def test_both_apis_read_the_records_of_the_other(real: Real) -> None:
    """An app may change its API, and back."""
    records = {"from-http": "http", "from-grpc": "grpc"}

    for key, api in records.items():

        async def write(sidecar: Sidecar, key: str = key) -> None:
            await sidecar.save(key, b'{"a":[1,2.5,"\xc3\xa9"]}', None)

        real.play(api, write)
    for api in APIS:

        async def read(sidecar: Sidecar) -> None:
            assert [b'{"a":[1,2.5,"\xc3\xa9"]}'] * 2 == await sidecar.load_many(list(records))
            for key in records:
                value, etag = await sidecar.load(key)
                assert value is not None
                await sidecar.save(key, value, etag)

        real.play(api, read)


@pytest.mark.parametrize("api", APIS)
def test_two_thousand_calls_at_once_get_their_own_answers(api: str, real: Real) -> None:
    """More calls than streams or connections."""

    async def scenario(sidecar: Sidecar) -> None:
        numbers = range(2_000)
        await asyncio.gather(*(sidecar.save(f"{api}:{number}", b"%d" % number, None) for number in numbers))
        loaded = await asyncio.gather(*(sidecar.load(f"{api}:{number}") for number in numbers))
        assert [b"%d" % number for number in numbers] == [value for value, _ in loaded]

    real.play(api, scenario)


@pytest.mark.parametrize("api", APIS)
def test_a_large_record_passes_flow_control(api: str, real: Real) -> None:
    """Ten records of 3 MB at a time, in both directions."""
    large = msgspec.json.encode("x" * 3_000_000)

    async def scenario(sidecar: Sidecar) -> None:
        keys = [f"{api}:large:{number}" for number in range(10)]
        await asyncio.gather(*(sidecar.save(key, large, None) for key in keys))
        assert [large] * 10 == [value for value, _ in await asyncio.gather(*(sidecar.load(key) for key in keys))]

    real.play(api, scenario)


@pytest.mark.parametrize(
    ("api", "added"), [("http", {"topic", "pubsubname", "traceid", "traceparent"}), ("grpc", set())]
)
def test_an_event_reaches_the_broker(api: str, added: set[str], real: Real) -> None:
    """Over gRPC it has the bytes of its publisher; over HTTP the sidecar adds attributes."""

    async def scenario(sidecar: Sidecar) -> None:
        await sidecar.publish("Lamp", EVENT)
        with pytest.raises(SidecarUnavailable, match=r"403|not allowed"):
            await sidecar.publish("Other", EVENT)

    real.play(api, scenario)

    server: Any = valkey.Valkey.from_url(f"redis://{real.address}")
    stored: bytes = server.xrevrange("Lamp", count=1)[0][1][b"data"]
    event = msgspec.json.decode(EVENT, type=dict[str, Any])
    found = msgspec.json.decode(stored, type=dict[str, Any])
    assert event == {name: value for name, value in found.items() if name in event}
    assert added <= found.keys() - event.keys()
    assert (api == "grpc") == (stored == EVENT)


@pytest.mark.parametrize("api", APIS)
def test_a_wrong_token_is_refused(api: str, real: Real) -> None:
    """The error names the reason, and the store counts as unreachable."""

    async def scenario(sidecar: Sidecar) -> None:
        for call in (sidecar.load("k"), sidecar.publish("Lamp", EVENT)):
            with pytest.raises(SidecarUnavailable, match="401"):
                await call
        assert sidecar.store.is_unreachable

    real.play(api, scenario, token="wrong")


@pytest.mark.parametrize("api", APIS)
def test_a_sidecar_that_hangs_is_late_and_then_answers(api: str, real: Real) -> None:
    """A stopped process answers nothing, and nothing is known of the call."""

    async def scenario(sidecar: Sidecar) -> None:
        send([psutil.Process(real.process)], signal.SIGSTOP)
        try:
            with pytest.raises(SidecarUnavailable) as late:
                await sidecar.try_publish("Lamp", EVENT, 0.3)
            assert SidecarTimeout is type(late.value)
            assert not await sidecar.answers()
        finally:
            os.kill(real.process, signal.SIGCONT)
        await sidecar.publish("Lamp", EVENT)
        assert await sidecar.answers()

    real.play(api, scenario)


@pytest.mark.parametrize("api", APIS)
def test_a_restart_of_the_sidecar_is_survived(api: str, real: Real) -> None:
    """Calls during it are not sent, or their outcome is unknown; calls after it work."""

    async def scenario(sidecar: Sidecar) -> None:
        outcomes: set[type[BaseException]] = set()

        async def saves() -> None:
            while not stopped.is_set():
                try:
                    await sidecar.save(f"{api}:restart:{next(numbers)}", b"1", None)
                except SidecarUnavailable as error:
                    outcomes.add(type(error))
                    await asyncio.sleep(0.01)

        stopped, numbers = asyncio.Event(), count()
        saving = asyncio.gather(*(saves() for _ in range(8)))
        await asyncio.to_thread(real.stop)
        with pytest.raises(SidecarUnreachable):
            await sidecar.load("k")
        real.start()  # here: the process ends with the thread that started it
        await real_sidecar.until_ready(sidecar)
        stopped.set()
        await saving
        assert SidecarUnreachable in outcomes
        await sidecar.save(f"{api}:after", b"1", None)

    real.play(api, scenario)


def test_a_killed_sidecar_leaves_outcomes_unknown(real: Real) -> None:
    """Each publish under way on the lost connection is neither done nor certainly not done."""

    async def scenario(sidecar: Sidecar) -> None:
        await sidecar.publish("Lamp", EVENT)  # without a connection nothing would be sent
        send([psutil.Process(real.process)], signal.SIGSTOP)
        publishes = [asyncio.create_task(sidecar.publish("Lamp", EVENT)) for _ in range(5)]
        await asyncio.sleep(0.2)  # they are sent; no answer can tell
        os.kill(real.process, signal.SIGKILL)
        results = await asyncio.gather(*publishes, return_exceptions=True)
        assert {SidecarUnavailable} == {type(result) for result in results}
        await asyncio.to_thread(real.stop)
        real.start()  # here: the process ends with the thread that started it

    real.play("grpc", scenario)


@pytest.mark.parametrize("api", APIS)
def test_every_component_that_the_sidecar_has_publishes(api: str, real: Real) -> None:
    """A sidecar that restarts with fewer components loses no event."""
    server: Any = valkey.Valkey.from_url(f"redis://{real.address}")
    further = real.broker / "pubsub-2.yaml"

    async def publish(sidecar: Sidecar) -> None:
        before = server.xlen("Lamp")
        await asyncio.gather(*(sidecar.publish("Lamp", EVENT) for _ in range(20)))
        assert 20 == server.xlen("Lamp") - before

    async def scenario(sidecar: Sidecar) -> None:
        await sidecar.publish_components.find()
        assert ["pubsub", "pubsub-2"] == [*sidecar.publish_components.names]
        await publish(sidecar)
        further.unlink()
        await asyncio.to_thread(real.stop)
        real.start()  # here: the process ends with the thread that started it
        await real_sidecar.until_ready(sidecar)
        await publish(sidecar)
        assert ["pubsub"] == [*sidecar.publish_components.names]

    text = (real.broker / "pubsub.yaml").read_text(encoding="utf-8")
    further.write_text(text.replace("{name: pubsub}", "{name: pubsub-2}"), encoding="utf-8")
    real.stop()
    real.start()
    real.play(api, scenario)


def test_a_missing_store_is_an_error_of_its_own(real: Real) -> None:
    """daprd reports it as INVALID_ARGUMENT, which is 400 for the readers of answers."""

    async def scenario(sidecar: Sidecar) -> None:
        api: Any = sidecar.api
        reply = await api._state.call(api._get, b"\x0a\x03foo\x12\x01k", 5)
        assert (3, "state store foo is not found") == (reply.code, reply.text)
        assert OK == (await api._state.call(api._get_many, b"\x0a\x0astatestore", 5)).code

    real.play("grpc", scenario)
