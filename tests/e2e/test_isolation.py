"""Each sidecar accepts what its app needs: its own topics and calls. The attacks of a stranger also
run without the scopes, where they succeed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from dapr.proto import api_service_v1, api_v1

from sidecart.chassis.server.inbound import RAW
from sidecart.chassis.sidecar_api import PUBSUB, STORE
from sidecart.launcher import monitor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.topic_scopes import NAMES, probes, publisher_of
from sidecart.launcher.topics import GATEWAY, app_ids, read_topics, service_ids
from sidecart.launcher.topology import sidecar_of
from sidecart.monitor.tap import TapError, read_all
from tests.e2e.shopper import SECONDS, Shopper

pytestmark = pytest.mark.sidecars

STRANGER = "stranger"
WITHOUT_SCOPES = dict.fromkeys(NAMES, "")
FORBIDDEN: Mapping[str, str] = {}


@contextmanager
def sidecar_of_a_stranger(system: System, env: Mapping[str, str], config: Path | None = None) -> Iterator[Sidecar]:
    """Start a sidecar for an unknown app, with the login of the servers' administrator."""
    try:
        sidecar = system.sidecars.start_for(STRANGER, None, env=env, config=config, login=ADMINISTRATOR)
        system.sidecars.wait_for_components(STRANGER, system.deadline)
        yield sidecar
    finally:
        system.sidecars.stop(STRANGER)


def publish(system: System, app_id: str, topic: str) -> httpx.Response:
    """Publish an event that has no effect, through an app's sidecar with its token."""
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), "type": "Nothing", "source": "x", "data": {}}
    sidecar = sidecar_of(app_id)
    headers = {"dapr-api-token": system.tokens[sidecar], "content-type": "application/cloudevents+json"}
    url = f"http://127.0.0.1:{system.ports[sidecar]}/v1.0/publish/pubsub/{topic}"
    return httpx.post(url, json=event, headers=headers, timeout=SECONDS, trust_env=False)


@pytest.mark.attack("processes", "publish the events of another app", "topic scopes")
@pytest.mark.parametrize("app_id", app_ids())
def test_an_app_cannot_publish_the_events_of_another(shopper: Shopper, app_id: str) -> None:
    """Its sidecar refuses them, and topics that no app knows."""
    others = [topic for topic in read_topics() if publisher_of(topic) != app_id]
    others += [topic for each in app_ids() if each != app_id for topic in probes(each)]
    answers = {topic: publish(shopper.shop, app_id, topic) for topic in (*others, "Unknown")}

    assert {403} == {answer.status_code for answer in answers.values()}, answers
    assert {"ERR_PUBSUB_FORBIDDEN"} == {answer.json()["errorCode"] for answer in answers.values()}


@pytest.mark.attack("processes", "publish as an unknown app", "topic scopes")
@pytest.mark.parametrize(
    ("env", "status"),
    [
        pytest.param(FORBIDDEN, 403, id="scopes"),
        pytest.param(WITHOUT_SCOPES, 204, id="mutant", marks=pytest.mark.mutant),
    ],
)
def test_a_stranger_cannot_publish(shopper: Shopper, env: Mapping[str, str], status: int) -> None:
    """Without the scopes, any app with the token can."""
    [probe] = probes("user")
    with sidecar_of_a_stranger(shopper.shop, env):
        assert status == publish(shopper.shop, STRANGER, probe).status_code


@pytest.mark.attack("processes", "subscribe as an unknown app", "topic scopes")
@pytest.mark.parametrize(
    ("env", "reads"),
    [
        pytest.param(FORBIDDEN, False, id="scopes"),
        pytest.param(WITHOUT_SCOPES, True, id="mutant", marks=pytest.mark.mutant),
    ],
)
def test_a_stranger_cannot_read(shopper: Shopper, tmp_path: Path, env: Mapping[str, str], reads: bool) -> None:
    """Without the scopes, any app with the token sees all orders."""
    config, opened = tmp_path / "may-subscribe.yaml", asyncio.Event()
    monitor.write_configuration(config)

    async def read(sidecar: Sidecar) -> None:
        token = shopper.shop.tokens[sidecar_of(STRANGER)]
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            reading = group.create_task(
                read_all(sidecar.grpc_port, token, ["OrderPaid"], lambda _event: None, opened.set)
            )
            group.create_task(opened.wait()).add_done_callback(lambda _: reading.cancel())

    with sidecar_of_a_stranger(shopper.shop, env, config) as sidecar:
        if reads:
            asyncio.run(read(sidecar))
        else:
            with pytest.raises(ExceptionGroup) as refused:
                asyncio.run(read(sidecar))
            assert refused.group_contains(TapError, match="not allowed")

    assert reads == opened.is_set()


@pytest.mark.attack("processes", "invoke another service by HTTP", "allowed calls")
@pytest.mark.parametrize("app_id", service_ids())
def test_a_service_cannot_call_another(shopper: Shopper, app_id: str) -> None:
    """Only the sidecar of the gateway invokes; the one of a service does not know the route."""
    user_id = shopper.register()["user_id"]
    asked = {
        each: httpx.get(
            f"http://127.0.0.1:{shopper.shop.sidecars.port(each)}/v1.0/invoke/user/method/user/{user_id}",
            headers={"dapr-api-token": shopper.shop.tokens[sidecar_of(each)]},
            timeout=SECONDS,
            trust_env=False,
        ).status_code
        for each in (app_id, GATEWAY)
    }

    assert {app_id: 404, GATEWAY: 200} == asked


@pytest.mark.attack("processes", "read secrets, use bindings", "allowed calls")
@pytest.mark.parametrize("app_id", app_ids())
def test_an_app_cannot_read_secrets_or_use_bindings(shopper: Shopper, app_id: str) -> None:
    """Of daprd's other calls, only those of the launcher and of the keeper are allowed."""
    url = f"http://127.0.0.1:{shopper.shop.sidecars.port(app_id)}/v1.0"
    headers = {"dapr-api-token": shopper.shop.tokens[sidecar_of(app_id)]}
    with httpx.Client(headers=headers, timeout=SECONDS, trust_env=False) as client:
        statuses = [
            client.get(f"{url}/secrets/kubernetes/x").status_code,
            client.post(f"{url}/bindings/x", json={}).status_code,
        ]
        is_up = client.get(f"{url}/healthz").status_code

    assert [404] * 2 == statuses
    assert 204 == is_up


@pytest.mark.attack("processes", "use the gRPC API of the own sidecar", "allowed calls")
@pytest.mark.parametrize("app_id", app_ids())
def test_an_app_has_no_more_calls_over_grpc(shopper: Shopper, app_id: str) -> None:
    """Over gRPC it keeps records and publishes its own topics, as over HTTP, and nothing else."""
    [(foreign, _), *_] = [each for each in read_topics().items() if each[1].publisher != app_id]
    with own_sidecar_by_grpc(shopper.shop, app_id) as (stub, token):
        answers = {
            call: refusal(stub, call, request, token)
            for call, request in (
                ("GetState", api_v1.GetStateRequest(store_name=STORE, key="x")),
                ("PublishEvent", api_v1.PublishEventRequest(pubsub_name=PUBSUB, topic=foreign, metadata=RAW)),
                ("InvokeService", api_v1.InvokeServiceRequest(id="user")),
                ("GetSecret", api_v1.GetSecretRequest(store_name="kubernetes", key="x")),
                ("InvokeBinding", api_v1.InvokeBindingRequest(name="x", operation="create")),
                ("Shutdown", api_v1.ShutdownRequest()),
            )
        }

    closed = ("InvokeService", "GetSecret", "InvokeBinding", "Shutdown")
    expected = {"GetState": None, "PublishEvent": grpc.StatusCode.PERMISSION_DENIED}
    assert expected | dict.fromkeys(closed, grpc.StatusCode.UNIMPLEMENTED) == answers


@contextmanager
def own_sidecar_by_grpc(system: System, app_id: str) -> Iterator[tuple[Any, str]]:
    """Connect to the gRPC API of an app's sidecar, and return its token, too."""
    with grpc.insecure_channel(f"127.0.0.1:{system.state.sidecars[app_id].grpc_port}") as channel:
        stub = api_service_v1.DaprStub(channel)  # type: ignore[no-untyped-call]  # generated without types
        yield stub, system.tokens[sidecar_of(app_id)]


def refusal(stub: Any, call: str, request: object, token: str) -> grpc.StatusCode | None:
    """Return the code with which a sidecar refuses a call; None if it does not."""
    try:
        getattr(stub, call)(request, metadata=(("dapr-api-token", token),), timeout=SECONDS)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return None


@pytest.mark.attack("processes", "call a sidecar or an app with no token, or with another's", "token of an app")
@pytest.mark.parametrize("app_id", app_ids())
def test_the_token_of_one_process_opens_no_other(shopper: Shopper, app_id: str) -> None:
    """It opens neither another app nor its sidecar, and an app's token not its own sidecar."""
    shop = shopper.shop
    others = [token for name, token in shop.tokens.items() if name not in (app_id, sidecar_of(app_id))]
    doors = {
        f"http://127.0.0.1:{shop.sidecars.port(app_id)}/v1.0/metadata": [*others, shop.tokens[app_id], ""],
        f"http://127.0.0.1:{shop.ports[app_id]}/dapr/subscribe": [*others, shop.tokens[sidecar_of(app_id)], ""],
    }
    refused = {
        httpx.get(url, headers={"dapr-api-token": token}, trust_env=False).status_code
        for url, tokens in doors.items()
        for token in tokens
    }

    assert {401, 403} == refused
    assert len(set(shop.tokens.values())) == len(shop.tokens) >= 2 * len(app_ids())
