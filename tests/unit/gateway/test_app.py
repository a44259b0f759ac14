"""The gateway over ASGI, with a sidecar that the test plays: what callers and strangers get."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from chassis.connections import Answer
from chassis.inbound import Subscription
from chassis.serve import LoopbackProbe, background
from chassis.settings import Settings
from chassis.shutdown import ShutdownSignal
from gateway import app as module
from gateway.publishing import BROKER, SIDECAR
from gateway.wiring import Wiring
from tests.unit.gateway.clock import run_jumping
from tests.unit.gateway.fakes import FakeSidecar, until

USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
OTHER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b6"
ITEM = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
ORDER = {"user_id": USER, "items": [ITEM]}
SETTINGS = Settings("127.0.0.1", 1, 2, "app-token", "dapr-token")


class Gateway:
    """A gateway whose sidecar is played by the test, and an HTTP client of it."""

    def __init__(self) -> None:
        self.sidecar = FakeSidecar()
        self.app = module.gateway(SETTINGS, "gateway-0")
        inner: Any = self.app._app  # type: ignore[attr-defined]  # the guard's inner app, whose state the test fills
        self.shutdown = ShutdownSignal()
        wiring = Wiring.of(self.sidecar, "gateway-0", LoopbackProbe("replies", "gateway-0"), self.shutdown)
        wiring.commands_api.known_users.add(USER)
        inner.state.wiring = wiring
        self.pending_commands, self.journal, self.reconciler = (
            wiring.pending_commands,
            wiring.journal,
            wiring.reconciler,
        )
        self.publishing = wiring.publishing
        topics = [Subscription("replies", topic, handle) for topic, handle in wiring.topics().items()]
        inner.subscribe(topics, dead_letters=None)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://shop")

    async def reply(self, topic: str, data: dict[str, object]) -> None:
        """Answer the newest command, as the sidecar would bring it."""
        await self.sidecar.was_published.wait()
        self.sidecar.was_published.clear()
        command_id = self.sidecar.published[-1][1]["correlationid"]
        event = {"id": USER, "type": topic, "correlationid": command_id, "subject": "s", "data": data}
        token = {"dapr-api-token": "app-token"}
        answer = await self.http.post(f"/events/replies/{topic}", content=json.dumps(event), headers=token)
        assert 200 == answer.status_code


@asynccontextmanager
async def running() -> AsyncIterator[Gateway]:
    """One gateway."""
    gateway = Gateway()
    async with (
        gateway.http,
        background(gateway.pending_commands.carry()),
        background(gateway.journal.write()),
        background(gateway.reconciler.work()),
    ):
        await until(lambda: gateway.pending_commands.resumed and gateway.journal.resumed)
        yield gateway


def now() -> float:
    """The seconds of the loop's clock."""
    return asyncio.get_running_loop().time()


def run(
    scenario: Callable[[Gateway], Awaitable[None]], runner: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
) -> None:
    """Play one scenario."""

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
    """The body is the event's, the location the resource's."""

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
def test_a_refusal_is_a_problem_of_its_own_status(topic: str, reason: str, status: int) -> None:
    """The type names the reason."""

    async def scenario(gateway: Gateway) -> None:
        call = gateway.http.post("/user/register", json={"email": "a@example.com", "name": "A"})
        answer, _ = await asyncio.gather(call, gateway.reply(topic, {"user_id": USER, "reason": reason}))

        assert (status, f"urn:sidecart:problem:{reason}") == (answer.status_code, answer.json()["type"])
        assert "application/problem+json" == answer.headers["content-type"]

    run(scenario)


def test_when_the_time_is_over_the_answer_is_202_and_get_keeps_saying_so() -> None:
    """Until the service knows the resource, the pending command answers for it."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "respond-async"})
        location = answer.headers["location"]
        asked = await gateway.http.get(location)

        assert (202, "respond-async", "1") == (
            answer.status_code,
            answer.headers["preference-applied"],
            answer.headers["retry-after"],
        )
        assert (202, "accepted") == (asked.status_code, asked.json()["status"])

    run(scenario)


def test_a_pending_command_that_is_refused_answers_get_with_the_refusal() -> None:
    """The same problem that a held caller would have got."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": "a@example.com", "name": "A"}
        answer = await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})
        await gateway.reply("UserCreateRejected", {"user_id": USER, "reason": "email_taken"})
        while (asked := await gateway.http.get(answer.headers["location"])).status_code == 202:
            pass  # the refusal is being written down

        assert (409, "urn:sidecart:problem:email_taken") == (asked.status_code, asked.json()["type"])

    run(scenario)


def test_what_was_made_while_we_looked_is_read_again() -> None:
    """The service did not know it yet, the pending command is confirmed already: never 404."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=0"})
        location = answer.headers["location"]
        await gateway.reply("OrderCreated", {"order_id": USER, "user_id": USER, "items": [ITEM], "amount_cents": 900})
        while (asked := await gateway.http.get(location)).status_code == 202:
            pass  # the outcome is being written down
        assert 503 == asked.status_code

        answers = [Answer(404, b"{}"), Answer(200, b"{}")]
        gateway.sidecar.answer = lambda _app_id, _path: answers.pop(0)
        assert 200 == (await gateway.http.get(location)).status_code

    run(scenario)


def test_what_cannot_be_accepted_is_503_with_the_key_to_repeat_with() -> None:
    """Also when the caller sent none; the same key then asks for the same resource."""

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


def test_while_the_store_refuses_writes_nothing_is_sent_that_could_not_be_accepted() -> None:
    """The first caller is told that the outcome is open, all others at once; reads go on, and /readyz says why."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.refuses_writes = True
        first = await gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=0"})
        sent = len(gateway.sidecar.published)
        second = await gateway.http.post("/order/create", json=ORDER)  # it would be held for long
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


def test_what_is_accepted_is_not_known_while_the_store_is_unreachable() -> None:
    """503, never 404."""

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
        (b"[" * 100_000, {}, 400),
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
    """Nothing is published for it."""

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
        ({"items": [ITEM] * 1_001}, ["/items"]),
        ({"items": [ITEM | {"quantity": True}]}, ["/items/0/quantity"]),
        ({"items": [ITEM | {"quantity": 1.5}, ITEM | {"quantity": 0}]}, ["/items/0/quantity", "/items/1/quantity"]),
        ({"items": [ITEM | {"quantity": 10**30}]}, ["/items/0/quantity"]),
        ({"items": [ITEM | {"unit_price_cents": -1, "sku": ""}]}, ["/items/0/sku", "/items/0/unit_price_cents"]),
        ({"items": [ITEM | {"sku": "a\r\nb"}]}, ["/items/0/sku"]),
        ({"items": [ITEM | {"quantity": 10_000, "unit_price_cents": 10**9}]}, [""]),
    ],
)
def test_every_wrong_field_is_named(change: dict[str, Any], pointers: list[str]) -> None:
    """By a JSON pointer."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", json=ORDER | change)

        assert (422, pointers) == (answer.status_code, sorted(error["pointer"] for error in answer.json()["errors"]))
        assert [] == gateway.sidecar.published

    run(scenario)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "x" * 201, "a\u2028b", "a\x85b"])
def test_a_name_that_could_break_a_header_or_a_letter_is_refused(name: str) -> None:
    """Control characters and blanks are not names."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/user/register", json={"email": "a@example.com", "name": name})

        assert (422, "/name") == (answer.status_code, answer.json()["errors"][0]["pointer"])

    run(scenario)


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@", "@b", "a@b@c.com", "a b@example.com", f"{'a' * 300}@example.com", "a\r\n@b.com", "zoë@example.com"],
)
def test_an_address_that_is_none_is_refused(email: str) -> None:
    """Nothing is published for it."""

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
def test_an_address_goes_out_in_the_form_that_every_mail_server_takes(written: str, sent: str) -> None:
    """ASCII: an international domain in its xn-- form."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": written, "name": "A"}
        await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})

        data = gateway.sidecar.published[0][1]["data"]
        assert isinstance(data, dict)
        assert sent == data["email"]

    run(scenario)


def test_an_unknown_user_is_404_and_no_event() -> None:
    """Before an order is published the User Service is asked."""

    async def scenario(gateway: Gateway) -> None:
        stranger = "00000000-0000-4000-8000-000000000000"
        answer = await gateway.http.post("/order/create", json=ORDER | {"user_id": stranger})

        assert (404, []) == (answer.status_code, gateway.sidecar.published)
        assert [f"user/user/{stranger}"] == gateway.sidecar.invoked

    run(scenario)


def test_a_user_that_is_accepted_is_not_told_that_there_is_none() -> None:
    """Whoever got the 202 orders at once, and the User Service does not know him yet: 503 until it is decided."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": "a@example.com", "name": "A"}
        accepted = await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})
        user_id = accepted.json()["user_id"]
        order = {"json": ORDER | {"user_id": user_id}, "headers": {"prefer": "wait=0"}}

        early = await gateway.http.post("/order/create", **order)  # type: ignore[arg-type]  # both as it takes them
        nothing = [topic for topic, _ in gateway.sidecar.published]
        gateway.sidecar.store_is_down = True
        money = {"user_id": user_id, "amount_cents": 1}
        blind = await gateway.http.post("/account/deposit", json=money, headers={"prefer": "wait=0"})
        gateway.sidecar.store_is_down = False
        await gateway.reply("UserCreated", {"user_id": user_id, **body})
        while (late := await gateway.http.post("/order/create", **order)).status_code == 503:  # type: ignore[arg-type]  # see above
            pass  # the outcome is being written down

        assert (503, "1", 503) == (early.status_code, early.headers["retry-after"], blind.status_code)
        assert {"UserCreateRequested"} == set(nothing)
        assert 202 == late.status_code

    run(scenario)


def test_a_user_whose_pending_command_was_refused_is_404() -> None:
    """There is none, and there will be none."""

    async def scenario(gateway: Gateway) -> None:
        body = {"email": "a@example.com", "name": "A"}
        accepted = await gateway.http.post("/user/register", json=body, headers={"prefer": "wait=0"})
        await gateway.reply("UserCreateRejected", {"user_id": USER, "reason": "email_taken"})
        while (await gateway.http.get(accepted.headers["location"])).status_code == 202:
            pass  # the refusal is being written down
        wanted = ORDER | {"user_id": accepted.json()["user_id"]}

        assert 404 == (await gateway.http.post("/order/create", json=wanted)).status_code

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
def test_a_wrong_method_or_path_is_said_as_such(method: str, path: str, status: int, allow: str | None) -> None:
    """405 names what is allowed; an id that is no UUID is 404, without asking anybody."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.request(method, path)

        assert (status, allow) == (answer.status_code, answer.headers.get("allow"))
        assert "application/problem+json" == answer.headers["content-type"]
        assert [] == gateway.sidecar.invoked

    run(scenario)


def test_a_read_is_the_owning_services_answer() -> None:
    """It goes by invocation, under the same path."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.answer = lambda app_id, path: Answer(200, json.dumps({"from": app_id + path}).encode())
        answer = await gateway.http.get(f"/account/{USER}/deposit/{USER}")

        assert {"from": f"billing/account/{USER}/deposit/{USER}"} == answer.json()

    run(scenario)


@pytest.mark.parametrize(("output", "expected"), [(404, 404), (500, 503), (503, 503)])
def test_a_service_that_knows_nothing_is_404_and_one_in_trouble_503(output: int, expected: int) -> None:
    """Never a 500 of somebody else's making."""

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
def test_the_sidecars_routes_are_403_to_strangers(path: str, headers: list[tuple[str, str]]) -> None:
    """With no token, a wrong one, or two."""

    async def scenario(gateway: Gateway) -> None:
        answers = [await gateway.http.request(method, path, headers=headers) for method in ("GET", "POST")]

        assert [403, 403] == [answer.status_code for answer in answers]

    run(scenario)


def test_a_malformed_reply_is_taken_and_answers_nobody() -> None:
    """It must not come again, and must not end a wait."""

    async def scenario(gateway: Gateway) -> None:
        call = asyncio.create_task(gateway.http.post("/order/create", json=ORDER, headers={"prefer": "wait=30"}))
        await gateway.reply("OrderCreated", {"order_id": USER})
        assert not call.done()
        gateway.sidecar.was_published.set()
        await gateway.reply("OrderCreated", {"order_id": USER, "user_id": USER, "items": [], "amount_cents": 0})

        assert 201 == (await call).status_code

    run(scenario)


def test_readiness_says_what_is_missing() -> None:
    """In words."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.get("/readyz")

        assert 503 == answer.status_code
        assert "Probe-gateway-0 did not come back yet" == answer.json()["missing"][0]
        assert 5 == len(answer.json()["missing"])

    run(scenario)


def test_the_openapi_document_has_the_bodies_and_not_the_sidecars_routes() -> None:
    """Every reference in it resolves."""

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


def test_the_asyncapi_document_is_served_beside_it() -> None:
    """To anybody who asks, of the same title and version; it is no part of the API itself."""

    async def scenario(gateway: Gateway) -> None:
        answer, openapi = await gateway.http.get("/asyncapi.json"), (await gateway.http.get("/openapi.json")).json()
        document = answer.json()

        assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
        assert "3.0.0" == document["asyncapi"]
        assert openapi["info"] == {name: document["info"][name] for name in ("title", "version")}
        assert "/asyncapi.json" not in openapi["paths"]

    run(scenario)


def test_the_asyncapi_document_is_only_read() -> None:
    """As everything that is not one of the three posts."""

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
    """The same status and the same headers, the length among them, whatever the answer is."""

    async def scenario(gateway: Gateway) -> None:
        got, head = await gateway.http.get(path), await gateway.http.head(path)

        assert (got.status_code, dict(got.headers)) == (head.status_code, dict(head.headers))
        assert int(head.headers["content-length"]) == len(got.content) > 0
        assert b"" == head.content

    run(scenario)


def test_the_page_of_the_api_loads_nothing_from_elsewhere() -> None:
    """All that it names is served here, in the version of the package; its policy forbids the rest."""

    async def scenario(gateway: Gateway) -> None:
        page = await gateway.http.get("/docs")
        named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assets = [await gateway.http.get(f"/{path}") for path in named]

        assert 4 == len(named)
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
    """Also for a user that the hung User Service would have to know; with a location, and the key to repeat."""
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
            began = now()
            answer = await gateway.http.post(path, json=bodies[path], headers={"prefer": prefer})
            assert wait_seconds <= now() - began < wait_seconds + 1
            assert (202 if hung == "publishing" else 503) == answer.status_code
            assert answer.headers["location"]
            if hung != "publishing":
                assert "urn:sidecart:problem:outcome-unknown" == answer.json()["type"]
                assert answer.headers["idempotency-key"]

    run(scenario, run_jumping)


def test_a_user_is_looked_for_within_the_wait_and_a_second() -> None:
    """Whether a user is pending is not known while the store is hung."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.store_is_hung = True
        began = now()
        answer = await gateway.http.post(
            "/order/create", json=ORDER | {"user_id": OTHER}, headers={"prefer": "respond-async"}
        )
        assert (503, True) == (answer.status_code, now() - began < 1)

    run(scenario, run_jumping)


@pytest.mark.parametrize("invoke_is_hung", [False, True])
def test_a_read_is_answered_within_three_seconds(invoke_is_hung: bool) -> None:
    """Two for the service, one for what is pending."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.store_is_hung, gateway.sidecar.invoke_is_hung = True, invoke_is_hung
        began = now()
        answer = await gateway.http.get(f"/order/{OTHER}")
        assert (503, True) == (answer.status_code, now() - began < 3)

    run(scenario, run_jumping)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"user_id": "{USER}", "user_id": "{USER}", "items": [{json.dumps(ITEM)}]}}',
        f'{{"user_id": "{USER}", "items": [], "\\u0069tems": [{json.dumps(ITEM)}]}}',
        f'{{"user_id": "{USER}", "items": [{{"sku": "a", "quantity": 1, "unit_price_cents": 1, "quantity": 9}}]}}',
    ],
)
def test_a_key_that_an_object_has_twice_is_refused(body: str) -> None:
    """Receivers differ in which of the two they take; at any level, and however it is escaped."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.post("/order/create", content=body, headers={"content-type": "application/json"})
        assert (400, "urn:sidecart:problem:not_json") == (answer.status_code, answer.json()["type"])
        assert "duplicate key" in answer.json()["detail"]
        assert [] == gateway.sidecar.published

    run(scenario)


def test_readiness_says_that_the_broker_blocks_publishing() -> None:
    """Not to the proxy: all gateways share it. A sidecar that does not answer is its own gateway's problem."""

    async def scenario(gateway: Gateway) -> None:
        async def missing(query: str) -> list[str]:
            answer = await gateway.http.get(f"/readyz{query}")
            assert 503 == answer.status_code  # the services were not asked
            return list(answer.json()["missing"])

        gateway.publishing.problem = BROKER
        assert BROKER in await missing("")
        assert BROKER not in await missing("?exclude=broker")
        gateway.publishing.problem = SIDECAR
        assert SIDECAR in await missing("?exclude=broker")

    run(scenario)
