"""The gateway over ASGI, with a fake sidecar: the responses to valid and invalid requests."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.app import SHOP
from sidecart.chassis.connections import Answer
from sidecart.chassis.publishers import read_publishers
from sidecart.chassis.server import loopback_probe
from sidecart.chassis.server.inbound import Subscription
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import background
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.settings import Settings
from sidecart.edge import app as module
from sidecart.edge import settings
from sidecart.edge.publish_watch import BROKER, SIDECAR
from sidecart.edge.wiring import Wiring
from tests.unit.chassis.daprd import daprd
from tests.unit.chassis.daprd import until as within_ten_seconds
from tests.unit.edge.clock import run_jumping
from tests.unit.edge.fakes import FakeSidecar, until

PUBLISHERS = read_publishers(SHOP.folder)
USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
OTHER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b6"
ITEM = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
ORDER = {"user_id": USER, "items": [ITEM]}
SETTINGS = Settings("127.0.0.1", 1, 2, "app-token", "dapr-token")
OWN = settings.read({"POD_NAME": "gateway-0", "ALLOWED_HOSTS": "shop", "AUTH": "off"})


class Gateway:
    """A gateway with a fake sidecar, and an HTTP client for it."""

    def __init__(self, auth: settings.AuthSettings | None = None) -> None:
        self.sidecar = FakeSidecar()
        self.app = module.gateway(SHOP, SETTINGS, replace(OWN, auth=auth))
        # The test sets the state of the app that PublicGate, SidecarAuth and AddressLimit wrap.
        inner: Any = self.app._app._app._app  # type: ignore[attr-defined]  # see the comment above
        self.shutdown = ShutdownSignal()
        wiring = Wiring.of(
            SHOP, self.sidecar, LoopbackProbe("replies", "gateway-0"), self.shutdown, replace(OWN, auth=auth)
        )
        wiring.commands_api.known.add(f"/user/{USER}")
        wiring.attach(inner)
        self.wiring = wiring
        self.pending_commands, self.journal, self.reconciler = (
            wiring.pending_commands,
            wiring.journal,
            wiring.reconciler,
        )
        self.publish_watch, self.pending_worker = wiring.publish_watch, wiring.pending_worker
        topics = [Subscription("replies", topic, handle) for topic, handle in wiring.topics().items()]
        inner.subscribe(topics, dead_letters=None)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://shop")

    async def reply(self, topic: str, data: dict[str, object], source: str = "") -> None:
        """Deliver a reply to the newest command, as the sidecar does; by default of its
        publisher.
        """
        await self.sidecar.was_published.wait()
        self.sidecar.was_published.clear()
        command_id = self.sidecar.published[-1][1]["correlationid"]
        event = {"id": USER, "type": topic, "correlationid": command_id, "subject": "s", "data": data}
        event["source"] = source or PUBLISHERS[topic]
        token = {"dapr-api-token": "app-token"}
        answer = await self.http.post(f"/events/replies/{topic}", content=json.dumps(event), headers=token)
        assert 200 == answer.status_code


@asynccontextmanager
async def running() -> AsyncIterator[Gateway]:
    """Run one gateway with its background tasks."""
    gateway = Gateway()
    async with (
        gateway.http,
        background(gateway.pending_worker.work()),
        background(gateway.journal.write()),
        background(gateway.reconciler.work()),
    ):
        await gateway.wiring.secrets.load()
        await until(lambda: gateway.pending_commands.resumed and gateway.journal.resumed)
        yield gateway


def now() -> float:
    """Return the time of the event loop, in seconds."""
    return asyncio.get_running_loop().time()


def run(
    scenario: Callable[[Gateway], Awaitable[None]], runner: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
) -> None:
    """Run one scenario."""

    async def play() -> None:
        async with running() as gateway:
            await scenario(gateway)

    runner(play())


@pytest.mark.parametrize(
    ("path", "body", "topic", "data", "expected"),
    [
        (
            "/user/register",
            {"email": "Ann@example.com", "name": "Ann"},
            "UserCreated",
            {"user_id": USER, "email": "Ann@example.com", "name": "Ann", "more": 1},
            {"user_id": USER, "email": "Ann@example.com", "name": "Ann"},
        ),
        (
            "/account/deposit",
            {"user_id": USER, "amount_cents": 5},
            "AccountDeposited",
            {"deposit_id": USER, "user_id": USER, "amount_cents": 5, "balance_cents": 7},
            {"deposit_id": USER, "user_id": USER, "balance_cents": 7},
        ),
        (
            "/order/create",
            ORDER,
            "OrderCreated",
            {"order_id": USER, "user_id": USER, "items": [ITEM], "amount_cents": 900},
            {
                "order_id": USER,
                "user_id": USER,
                "items": [ITEM],
                "amount_cents": 900,
                "status": "payment_pending",
            },
        ),
    ],
)
def test_a_call_is_answered_201_by_its_own_event(
    path: str, body: dict[str, Any], topic: str, data: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The 201 has the data of the event and the location of the resource."""

    async def scenario(gateway: Gateway) -> None:
        answer, _ = await asyncio.gather(gateway.http.post(path, json=body), gateway.reply(topic, data))

        assert (201, expected) == (answer.status_code, answer.json())
        resource = gateway.sidecar.published[0][1]["subject"]
        assert answer.headers["location"].endswith(f"/{resource}")

    run(scenario)


@pytest.mark.parametrize(
    ("topic", "reason", "status"),
    [
        ("UserCreateRejected", "email_taken", 409),
        ("UserCreateRejected", "key_reused", 422),
        ("AccountDepositRejected", "balance_limit", 409),
    ],
)
def test_a_rejection_is_a_problem_with_its_own_status(topic: str, reason: str, status: int) -> None:
    """The problem type names the reason of the rejection."""

    async def scenario(gateway: Gateway) -> None:
        call = gateway.http.post("/user/register", json={"email": "a@example.com", "name": "A"})
        answer, _ = await asyncio.gather(call, gateway.reply(topic, {"user_id": USER, "reason": reason}))

        assert (status, f"urn:sidecart:problem:{reason}") == (answer.status_code, answer.json()["type"])
        assert "application/problem+json" == answer.headers["content-type"]

    run(scenario)


def test_after_the_wait_the_answer_is_202_and_so_is_a_get_of_the_location() -> None:
    """Until the service knows the resource, its pending command answers a GET with 202."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "respond-async"})
        location = answer.headers["location"]
        read = await gateway.http.get(location)

        assert (202, "respond-async", "1") == (
            answer.status_code,
            answer.headers["preference-applied"],
            answer.headers["retry-after"],
        )
        assert (202, "accepted") == (read.status_code, read.json()["status"])

    run(scenario)


def test_a_pending_command_that_is_rejected_answers_get_with_the_rejection() -> None:
    """A GET returns the same problem that a held request would have returned."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": "a@example.com", "name": "A"}
        answer = await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})
        await gateway.reply("UserCreateRejected", {"user_id": USER, "reason": "email_taken"})
        while (read := await gateway.http.get(answer.headers["location"])).status_code == 202:
            pass  # the gateway is writing the rejection

        assert (409, "urn:sidecart:problem:email_taken") == (read.status_code, read.json()["type"])

    run(scenario)


def test_a_resource_that_was_created_during_the_lookup_is_read_again() -> None:
    """If the service answers 404 but the command is confirmed, the gateway reads once more."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=0"})
        location = answer.headers["location"]
        await gateway.reply("OrderCreated", {"order_id": USER, "user_id": USER, "items": [ITEM], "amount_cents": 900})
        while (read := await gateway.http.get(location)).status_code == 202:
            pass  # the gateway is writing the outcome
        assert 503 == read.status_code

        answers = [Answer(404, b"{}"), Answer(200, b"{}")]
        gateway.sidecar.answer = lambda _app_id, _path: answers.pop(0)
        assert 200 == (await gateway.http.get(location)).status_code

    run(scenario)


def test_a_command_that_cannot_be_recorded_is_503_with_a_key_for_repetition() -> None:
    """The 503 has an Idempotency-Key even if the request had none.

    A repetition with this key asks for the same resource.
    """

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.store_is_down = True
        lost = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=0"})
        gateway.sidecar.store_is_down = False
        key = {"idempotency-key": lost.headers["idempotency-key"], "prefer": "wait=0"}
        again = await gateway.http.post("/order/create", json=ORDER, headers=key)

        assert (503, "urn:sidecart:problem:outcome-unknown") == (lost.status_code, lost.json()["type"])
        assert "retry-after" in lost.headers
        assert (202, lost.headers["location"]) == (again.status_code, again.headers["location"])
        assert 1 == len({event["id"] for _, event in gateway.sidecar.published})

    run(scenario)


def test_while_the_store_refuses_writes_no_command_is_published() -> None:
    """The first request gets outcome-unknown, later requests get 503 at once.

    Reads still work, and /readyz reports the reason.
    """

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.refuses_writes = True
        first = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=0"})
        sent = len(gateway.sidecar.published)
        second = await gateway.http.post("/order/create", json=ORDER)  # it would be held for 5 s
        ready = await gateway.http.get("/readyz")
        read = await gateway.http.get(f"/order/{USER}")
        gateway.sidecar.refuses_writes = False
        gateway.sidecar.store.written()
        third = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=0"})

        assert (503, "urn:sidecart:problem:outcome-unknown") == (first.status_code, first.json()["type"])
        assert (503, "urn:sidecart:problem:unavailable") == (second.status_code, second.json()["type"])
        assert "retry-after" in second.headers
        assert 1 == sent
        assert (503, True) == (ready.status_code, "the store refuses writes: read-only" in ready.json()["missing"])
        assert 404 == read.status_code
        assert 202 == third.status_code

    run(scenario)


def test_a_read_is_503_while_the_pending_record_cannot_be_read() -> None:
    """While the store is unreachable, an unknown resource is 503, not 404."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.store_is_down = True

        assert 503 == (await gateway.http.get(f"/order/{USER}")).status_code

    run(scenario)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff{}", {}, 400),
        (b'{"amount_cents": NaN}', {}, 400),
        (b"[" * 60_000, {}, 400),
        (b'{"name": "\\ud800"}', {}, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-type": "application/json; charset=latin-1"}, 415),
        (b" " * 300_000, {}, 413),
        (b"{}", {}, 422),
        (b"[]", {}, 422),
        (b"{}", {"idempotency-key": "has spaces"}, 400),
        (b"{}", {"idempotency-key": "k" * 256}, 400),
    ],
)
def test_bad_input_is_a_problem_and_no_event(content: bytes, headers: dict[str, str], status: int) -> None:
    """The gateway publishes no event for an invalid request."""

    async def scenario(gateway: Gateway) -> None:
        sent = {"content-type": "application/json"} | headers
        answer = await gateway.http.post("/order/create", content=content, headers=sent)

        assert (status, []) == (answer.status_code, gateway.sidecar.published)
        assert {"type", "title", "status", "detail", "trace_id"} <= answer.json().keys()

    run(scenario)


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"user_id": "x"}, ["/user_id"]),
        ({"user_id": None, "extra": 1}, ["/extra", "/user_id"]),
        ({"items": []}, ["/items"]),
        ({"items": [ITEM] * 101}, ["/items"]),
        ({"items": [ITEM | {"quantity": True}]}, ["/items/0/quantity"]),
        ({"items": [ITEM | {"quantity": 1.5}, ITEM | {"quantity": 0}]}, ["/items/0/quantity", "/items/1/quantity"]),
        ({"items": [ITEM | {"quantity": 10**30}]}, ["/items/0/quantity"]),
        ({"items": [ITEM | {"unit_price_cents": -1, "sku": ""}]}, ["/items/0/sku", "/items/0/unit_price_cents"]),
        ({"items": [ITEM | {"sku": "a\r\nb"}]}, ["/items/0/sku"]),
        ({"items": [ITEM | {"quantity": 10_000, "unit_price_cents": 10**9}]}, [""]),
    ],
)
def test_every_invalid_field_is_listed(change: dict[str, Any], pointers: list[str]) -> None:
    """The problem lists each invalid field by its JSON pointer."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", json=ORDER | change)

        assert (422, pointers) == (answer.status_code, sorted(error["pointer"] for error in answer.json()["errors"]))
        assert [] == gateway.sidecar.published

    run(scenario)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "x" * 201, "a\u2028b", "a\x85b", "a\u202eb", "a\u2066b"])
def test_a_name_that_could_break_a_mail_header_is_refused(name: str) -> None:
    """A name must not be blank, too long or contain control characters."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/user/register", json={"email": "a@example.com", "name": name})

        assert (422, "/name") == (answer.status_code, answer.json()["errors"][0]["pointer"])

    run(scenario)


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@", "@b", "a@b@c.com", "a b@example.com", f"{'a' * 300}@example.com", "a\r\n@b.com", "zoë@example.com"],
)
def test_an_invalid_email_address_is_refused(email: str) -> None:
    """The gateway publishes no event for an invalid e-mail address."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/user/register", json={"email": email, "name": "A"})

        assert (422, "/email", []) == (
            answer.status_code,
            answer.json()["errors"][0]["pointer"],
            gateway.sidecar.published,
        )

    run(scenario)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("x@exämple.com", "x@xn--exmple-cua.com"),
        ("x@xn--exmple-cua.com",) * 2,
        ("a|b%c@Example.COM", "a|b%c@example.com"),
    ],
)
def test_an_email_address_is_published_in_ascii(written: str, sent: str) -> None:
    """An international domain is published in its xn-- form, which every mail server accepts."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": written, "name": "A"}
        await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})

        data = gateway.sidecar.published[0][1]["data"]
        assert isinstance(data, dict)
        assert sent == data["email"]

    run(scenario)


def test_an_unknown_user_is_404_and_no_event() -> None:
    """The gateway asks the User Service before it publishes an order."""

    async def scenario(gateway: Gateway) -> None:
        unknown = "00000000-0000-4000-8000-000000000000"
        answer = await gateway.http.post("/order/create", json=ORDER | {"user_id": unknown})

        assert (404, []) == (answer.status_code, gateway.sidecar.published)
        assert [f"user/user/{unknown}"] == gateway.sidecar.invoked

    run(scenario)


def test_an_order_of_a_pending_user_is_503_until_the_registration_is_decided() -> None:
    """The User Service may not know the user yet, so a 404 would be wrong."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": "a@example.com", "name": "A"}
        accepted = await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})
        user_id = accepted.json()["user_id"]
        order = {"json": ORDER | {"user_id": user_id}, "headers": {"prefer": "wait=0"}}

        # mypy cannot match the values of the dict with the keyword arguments.
        early = await gateway.http.post("/order/create", **order)  # type: ignore[arg-type]  # see above
        published = [topic for topic, _ in gateway.sidecar.published]
        gateway.sidecar.store_is_down = True
        money = {"user_id": user_id, "amount_cents": 1}
        unknown = await gateway.http.post("/account/deposit", json=money, headers={"prefer": "wait=0"})
        gateway.sidecar.store_is_down = False
        await gateway.reply("UserCreated", {"user_id": user_id, **body})
        while (late := await gateway.http.post("/order/create", **order)).status_code == 503:  # type: ignore[arg-type]  # see above
            pass  # the gateway is writing the outcome

        assert (503, "1", 503) == (early.status_code, early.headers["retry-after"], unknown.status_code)
        assert {"UserCreateRequested"} == set(published)
        assert 202 == late.status_code

    run(scenario)


def test_an_order_of_a_user_whose_registration_was_rejected_is_404() -> None:
    """The user does not exist and will not exist."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": "a@example.com", "name": "A"}
        accepted = await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})
        await gateway.reply("UserCreateRejected", {"user_id": USER, "reason": "email_taken"})
        while (await gateway.http.get(accepted.headers["location"])).status_code == 202:
            pass  # the gateway is writing the rejection
        order = ORDER | {"user_id": accepted.json()["user_id"]}

        assert 404 == (await gateway.http.post("/order/create", json=order)).status_code

    run(scenario)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/user/register", 405, "POST"),
        ("GET", "/order/create", 405, "POST"),
        ("DELETE", "/order/create", 405, "POST"),
        ("PUT", "/account/deposit", 405, "POST"),
        ("DELETE", f"/order/{USER}", 405, "GET, HEAD"),
        ("OPTIONS", f"/order/{USER}", 405, "GET, HEAD"),
        ("POST", "/openapi.json", 405, "GET, HEAD"),
        ("POST", "/docs", 405, "GET, HEAD"),
        ("HEAD", "/order/create", 405, "POST"),
        ("HEAD", "/nowhere", 404, None),
        ("GET", "/order/ORDER", 404, None),
        ("GET", f"/user/{USER.upper()}", 404, None),
        ("GET", "/nowhere", 404, None),
    ],
)
def test_a_wrong_method_is_405_and_a_wrong_path_404(method: str, path: str, status: int, allow: str | None) -> None:
    """405 lists the allowed methods; an id that is no UUID is 404 without a call to a service."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.request(method, path)

        assert (status, allow) == (answer.status_code, answer.headers.get("allow"))
        assert "application/problem+json" == answer.headers["content-type"]
        assert [] == gateway.sidecar.invoked

    run(scenario)


def test_a_read_returns_the_answer_of_the_owning_service() -> None:
    """The gateway invokes the service with the same path."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.answer = lambda app_id, path: Answer(200, json.dumps({"from": app_id + path}).encode())
        answer = await gateway.http.get(f"/account/{USER}/deposit/{USER}")

        assert {"from": f"billing/account/{USER}/deposit/{USER}"} == answer.json()

    run(scenario)


@pytest.mark.parametrize(("output", "expected"), [(404, 404), (500, 503), (503, 503)])
def test_an_unknown_resource_is_404_and_a_failing_service_503(output: int, expected: int) -> None:
    """The gateway never returns the 500 of a service."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.answer = lambda _app, _path: Answer(output, b"")
        answer = await gateway.http.get(f"/order/{USER}")

        assert expected == answer.status_code

    run(scenario)


@pytest.mark.parametrize(
    "path", ["/dapr/subscribe", "/dapr/config", "/events/replies/OrderCreated", "/events/", "/job/x"]
)
@pytest.mark.parametrize(
    "headers", [[], [("dapr-api-token", "")], [("dapr-api-token", "wrong")], [("dapr-api-token", "app-token")] * 2]
)
def test_the_sidecars_routes_are_403_without_the_token(path: str, headers: list[tuple[str, str]]) -> None:
    """A missing token, a wrong token and two tokens are 403."""

    async def scenario(gateway: Gateway) -> None:
        answers = [await gateway.http.request(method, path, headers=headers) for method in ("GET", "POST")]

        assert [403, 403] == [answer.status_code for answer in answers]

    run(scenario)


def test_a_malformed_reply_is_acknowledged_and_ends_no_wait() -> None:
    """The broker must not redeliver it, and the request stays held."""

    async def scenario(gateway: Gateway) -> None:
        call = asyncio.create_task(gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=30"}))
        await gateway.reply("OrderCreated", {"order_id": USER})
        assert not call.done()
        gateway.sidecar.was_published.set()
        await gateway.reply("OrderCreated", {"order_id": USER, "user_id": USER, "items": [], "amount_cents": 0})

        assert 201 == (await call).status_code

    run(scenario)


def test_a_reply_from_another_source_ends_no_wait() -> None:
    """Only the publisher of the reply can answer a held request."""

    async def scenario(gateway: Gateway) -> None:
        reply: dict[str, object] = {"order_id": USER, "user_id": USER, "items": [], "amount_cents": 0}
        call = asyncio.create_task(gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=30"}))
        await gateway.reply("OrderCreated", reply | {"amount_cents": 1}, source="billing")
        assert not call.done()
        gateway.sidecar.was_published.set()
        await gateway.reply("OrderCreated", reply)

        assert 0 == (await call).json()["amount_cents"]

    run(scenario)


def test_readiness_lists_the_reasons() -> None:
    """The 503 lists each unmet condition in words."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.get("/readyz")

        assert 503 == answer.status_code
        assert "Probe-gateway-0 did not come back yet" == answer.json()["missing"][0]
        assert 1 + len(SHOP.services) == len(answer.json()["missing"])

    run(scenario)


def test_the_openapi_document_has_the_bodies_and_not_the_sidecars_routes() -> None:
    """Every reference in the OpenAPI document resolves."""

    async def scenario(gateway: Gateway) -> None:
        document = (await gateway.http.get("/openapi.json")).json()

        assert {"OrderBody", "Item", "RegisterBody", "DepositBody", "problem", "accepted"} <= document["components"][
            "schemas"
        ].keys()
        assert not [path for path in document["paths"] if path.startswith(("/dapr", "/events"))]
        text = json.dumps(document)
        names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert names <= document["components"]["schemas"].keys()

    run(scenario)


def test_the_asyncapi_document_is_served_without_a_token() -> None:
    """It has the title and version of the OpenAPI document, and is not part of the API."""

    async def scenario(gateway: Gateway) -> None:
        answer, openapi = await gateway.http.get("/asyncapi.json"), (await gateway.http.get("/openapi.json")).json()
        document = answer.json()

        assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
        assert "3.0.0" == document["asyncapi"]
        assert openapi["info"] == {name: document["info"][name] for name in ("title", "version")}
        assert "/asyncapi.json" not in openapi["paths"]

    run(scenario)


def test_a_post_of_the_asyncapi_document_is_405() -> None:
    """The document is read-only."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/asyncapi.json", json={})

        assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])

    run(scenario)


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/asyncapi.json",
        "/docs",
        "/docs/start.js",
        "/docs/swagger-ui-bundle.js",
        f"/user/{USER}",
        f"/account/{USER}/deposit/{USER}",
        "/order/create",
        "/nowhere",
    ],
)
def test_head_is_get_without_the_content(path: str) -> None:
    """HEAD returns the status and the headers of GET, Content-Length included."""

    async def scenario(gateway: Gateway) -> None:
        got, head = await gateway.http.get(path), await gateway.http.head(path)

        assert (got.status_code, dict(got.headers)) == (head.status_code, dict(head.headers))
        assert int(head.headers["content-length"]) == len(got.content) > 0
        assert b"" == head.content

    run(scenario)


def test_the_api_page_loads_nothing_from_another_host() -> None:
    """The gateway serves all assets of the page, and the content security policy forbids others."""

    async def scenario(gateway: Gateway) -> None:
        page = await gateway.http.get("/docs")
        paths = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assets = [await gateway.http.get(f"/{path}") for path in paths]

        assert 4 == len(paths)
        assert [200] * 4 == [asset.status_code for asset in assets]
        assert "http" not in page.text
        for answer in (page, *assets):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "http" not in policy
        assert not any(path.startswith("/docs") for path in (await gateway.http.get("/openapi.json")).json()["paths"])

    run(scenario)


@pytest.mark.parametrize("path", ["/order/create", "/account/deposit", "/user/register"])
@pytest.mark.parametrize("hung", ["publishing", "the store", "both"])
def test_every_call_is_answered_within_its_wait_and_a_second(path: str, hung: str) -> None:
    """The limit holds for a user that the hung User Service must look up, too.

    Each response has a location; a 503 has the key for a repetition.
    """
    bodies: dict[str, dict[str, object]] = {
        "/order/create": {**ORDER, "user_id": OTHER},
        "/account/deposit": {"user_id": OTHER, "amount_cents": 1},
        "/user/register": {"email": "ann@example.com", "name": "Ann"},
    }

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.publish_is_blocked = hung != "the store"
        gateway.sidecar.store_is_hung = hung != "publishing"
        gateway.sidecar.invoke_is_hung = True
        for prefer, wait_seconds in (("respond-async", 0), ("wait=1", 1), ("respond-async, wait=30", 30)):
            started_at = now()
            answer = await gateway.http.post(path, json=bodies[path], headers={"prefer": prefer})
            assert wait_seconds <= now() - started_at < wait_seconds + 1
            assert (202 if hung == "publishing" else 503) == answer.status_code
            assert answer.headers["location"]
            if hung != "publishing":
                assert "urn:sidecart:problem:outcome-unknown" == answer.json()["type"]
                assert answer.headers["idempotency-key"]

    run(scenario, run_jumping)


def test_a_user_is_looked_up_within_the_wait_and_a_second() -> None:
    """While the store is hung, the lookup of a pending user ends with 503 in time."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.store_is_hung = True
        started_at = now()
        answer = await gateway.http.post(
            "/order/create", json=ORDER | {"user_id": OTHER}, headers={"prefer": "respond-async"}
        )
        assert (503, True) == (answer.status_code, now() - started_at < 1)

    run(scenario, run_jumping)


@pytest.mark.parametrize("invoke_is_hung", [False, True])
def test_a_read_is_answered_within_three_seconds(invoke_is_hung: bool) -> None:
    """The service has two seconds, the lookup of the pending record one."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.store_is_hung, gateway.sidecar.invoke_is_hung = True, invoke_is_hung
        started_at = now()
        answer = await gateway.http.get(f"/order/{OTHER}")
        assert (503, True) == (answer.status_code, now() - started_at < 3)

    run(scenario, run_jumping)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"user_id": "{USER}", "user_id": "{USER}", "items": [{json.dumps(ITEM)}]}}',
        f'{{"user_id": "{USER}", "items": [], "\\u0069tems": [{json.dumps(ITEM)}]}}',
        f'{{"user_id": "{USER}", "items": [{{"sku": "a", "quantity": 1, "unit_price_cents": 1, "quantity": 9}}]}}',
    ],
)
def test_a_duplicate_json_key_is_refused(body: str) -> None:
    """Receivers differ in which of the two values they use.

    The check covers every level and every escaping.
    """

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", content=body, headers={"content-type": "application/json"})
        assert (400, "urn:sidecart:problem:not_json") == (answer.status_code, answer.json()["type"])
        assert "duplicate key" in answer.json()["detail"]
        assert [] == gateway.sidecar.published

    run(scenario)


def test_readiness_reports_that_the_broker_blocks_publishing() -> None:
    """`exclude=broker`, for the proxy, hides problems of the broker, which all gateways share.

    It does not hide that the gateway's own sidecar does not answer.
    """

    async def scenario(gateway: Gateway) -> None:
        async def missing(query: str) -> list[str]:
            answer = await gateway.http.get(f"/readyz{query}")
            assert 503 == answer.status_code  # no service has answered yet
            return list(answer.json()["missing"])

        gateway.publish_watch.problem = BROKER
        assert BROKER in await missing("")
        assert BROKER not in await missing("?exclude=broker")
        gateway.publish_watch.problem = SIDECAR
        assert SIDECAR in await missing("?exclude=broker")

    run(scenario)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/order/create", {"host": "evil.example"}, 421),
        ("/order/create", {"origin": "https://evil.example"}, 403),
        (f"/order/{USER}", {"host": "evil.example"}, 421),
        ("/healthz", {"host": "evil.example"}, 200),
    ],
)
def test_the_gateway_checks_host_and_origin(path: str, headers: dict[str, str], status: int) -> None:
    """A foreign page reaches no call; the body is a problem."""

    async def scenario(gateway: Gateway) -> None:
        method = "POST" if path == "/order/create" else "GET"
        answer = await gateway.http.request(method, path, json=ORDER if method == "POST" else None, headers=headers)

        assert status == answer.status_code
        assert status == 200 or answer.headers["content-type"] == "application/problem+json"
        assert [] == gateway.sidecar.published

    run(scenario)


def test_an_accepted_host_opens_no_door_for_another() -> None:
    """After a request, only the same Host without an Origin is forwarded at once."""

    async def scenario(gateway: Gateway) -> None:
        statuses = [
            (await gateway.http.get(f"/order/{USER}", headers=headers)).status_code
            for headers in ({}, {"origin": "https://evil.example"}, {"host": "evil.example"}, {"host": "SHOP"}, {})
        ]

        assert [403, 421] == statuses[1:3]
        assert not {403, 421} & {statuses[0], *statuses[3:]}

    run(scenario)


def test_the_gateway_publishes_on_every_component_of_its_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks its sidecar for them when it starts."""
    monkeypatch.setattr(loopback_probe, "PROBE_SECONDS", 0.001)

    async def scenario() -> None:
        async with daprd() as fake:
            fake.components = ["pubsub", "pubsub-2"]
            app: Any = module.gateway(SHOP, replace(SETTINGS, dapr_http_port=fake.port), OWN)
            inner = app._app._app._app  # PublicGate, SidecarAuth and AddressLimit wrap the app
            async with inner.router.lifespan_context(inner):
                await within_ten_seconds(lambda: {"pubsub", "pubsub-2"} == fake.used_components())

    asyncio.run(scenario())
