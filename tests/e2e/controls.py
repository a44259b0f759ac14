"""Controls, and for each of them an attack that it must refuse.

Each attack is a function of a scene that returns True if it succeeded. It runs on the intact shop
and on a shop without the control.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx
import psutil

from sidecart.edge.command import key_owner, resource_id
from sidecart.edge.token_verifier import SKEW_SECONDS
from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.monitor import NAME as MONITOR
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import GATEWAY
from tests.e2e import raw
from tests.e2e.scene import ANOTHER_ADDRESS, Scene, bearer, log_of, with_key
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, new_address
from tests.e2e.test_bad_events import fresh, publish
from tests.e2e.without import KNOWN_SECRET, MAIL_CATCHER

EVIL = "evil.example"
SLOW_HEADERS = [
    (name, start + text * (60_000 // len(text)))
    for name, start in (
        ("content-type", 'application/json; x="'),
        ("content-encoding", ""),
        ("prefer", ""),
        ("idempotency-key", '"'),
        ("authorization", "Bearer "),
        ("accept", ""),
        ("cookie", 'x="'),
        ("traceparent", ""),
        ("origin", ""),
        ("x-forwarded-for", ""),
    )
    for text in (";", ",", "\\a", "=", '"', "a;q=0.1,")
]
SLOW_SECONDS, MEASUREMENTS = 0.5, 3
PER_CALLER, PER_ADDRESS, HELD = 100, 200, 8
"""The limits of the shop of these tests: smaller than the usual ones, so that a slow machine
reaches them within their window."""
PER_ADDRESS_CONNECTIONS = 50
ENV = {
    "REQUESTS_PER_CALLER": str(PER_CALLER),
    "REQUESTS_PER_ADDRESS": str(PER_ADDRESS),
    "HELD_PER_CALLER": str(HELD),
    "CONNECTIONS_PER_ADDRESS_MAX": str(PER_ADDRESS_CONNECTIONS),
}
Attack = Callable[[Scene], bool]


@dataclass(frozen=True, slots=True)
class Control:
    """One control, and its attack."""

    group: str
    name: str
    control: str
    app_id: str
    """The process that has the control."""
    attack: Attack
    env: Mapping[str, str] = field(default_factory=dict)
    """The settings that take the control out, in place of a patch."""

    @property
    def patch(self) -> str:
        """The name of the patch that takes the control out (without.py); empty for settings."""
        return "" if self.env else self.control.replace(" ", "-")

    @property
    def words(self) -> tuple[str, str, str]:
        """The words of the markers."""
        return self.group, self.name, self.control


def reads_with(make: Callable[[Scene], str]) -> Attack:
    """Read the victim's order with a token."""
    return lambda scene: scene.get(f"/order/{scene.victim.order_id}", make(scene)).status_code == 200


def eve_reads(path: Callable[[Scene], str]) -> Attack:
    """Read a path of the victim with the token of another caller."""
    return lambda scene: scene.shopper.http.get(path(scene), headers=scene.eve.headers).status_code == 200


def reads_by_query(scene: Scene) -> bool:
    """Read the victim's order with a token in the query, where logs and histories keep it."""
    with scene.http() as http:
        return http.get(f"/order/{scene.victim.order_id}?access_token={scene.victim.forger.good()}").status_code == 200


def orders_for_the_victim(scene: Scene) -> bool:
    """Order with the victim's id in the body."""
    body = {"user_id": scene.victim.user_id, "items": [TEA]}
    answer = scene.shopper.http.post("/order/create", json=body, headers=scene.eve.headers)
    return answer.status_code == 201 and answer.json()["user_id"] == scene.victim.user_id


def registers_unverified(scene: Scene) -> bool:
    """Register an address that the issuer did not verify."""
    address = new_address()
    token = scene.victim.forger.good(sub=address, email=address, email_verified=False)
    answer = scene.shopper.http.post("/user/register", json={"email": address, "name": "Eve"}, headers=bearer(token))
    return answer.status_code == 201


def reads_pending(scene: Scene) -> bool:
    """Read an order of the victim that is accepted and not placed."""
    scene.shop.stop_app("order")
    try:
        accepted = scene.shopper.order(scene.victim.user_id, prefer="respond-async")
        path = accepted.headers["location"]
        found = scene.shopper.http.get(path, headers=scene.eve.headers).status_code
    finally:
        scene.shop.start_app("order")
    scene.shop.wait_ready("order")
    scene.shopper.final(accepted.json()["order_id"])  # polling would use up the caller's requests
    scene.shopper.until(lambda: scene.shopper.http.get(path).status_code == 200, "the order")
    return found == 202


def deposits_for_oneself(scene: Scene) -> bool:
    """Pay in without the provider's scope."""
    body = {"user_id": scene.eve.user_id, "amount_cents": 1_000_000}
    return scene.shopper.http.post("/account/deposit", json=body, headers=scene.eve.headers).status_code == 201


def takes_a_key(scene: Scene) -> bool:
    """Use the victim's key, which occupies it or shows its order."""
    key = {"idempotency-key": uuid.uuid4().hex}
    first = scene.shopper.order(scene.victim.user_id, **key)
    answer = scene.shopper.http.post("/order/create", json={"items": [TEA]}, headers=scene.eve.headers | key)
    return answer.status_code != 201 or answer.json()["order_id"] == first.json()["order_id"]


def computes_an_id(scene: Scene) -> bool:
    """Compute the id of the victim's order from its key."""
    key = uuid.uuid4().hex
    order_id = scene.shopper.order(scene.victim.user_id, **{"idempotency-key": key}).json()["order_id"]
    owner = key_owner(scene.victim.user_id, scene.victim.user_id)
    return bool(order_id == resource_id(KNOWN_SECRET, "/order/create", owner, key))


def orders_for_a_cent(scene: Scene) -> bool:
    """Choose the price of an order."""
    body = {"items": [TEA | {"unit_price_cents": 1}]}
    return scene.shopper.http.post("/order/create", json=body, headers=scene.eve.headers).status_code == 201


def deposit(scene: Scene, deposit_id: str) -> dict[str, object]:
    """Return the event of a deposit for the attacker."""
    data = {"user_id": scene.eve.user_id, "deposit_id": deposit_id, "amount_cents": 7}
    return fresh("AccountDepositRequested", **data)


def is_dead(scene: Scene, event_id: object) -> bool:
    """Return whether an event is a dead letter."""
    state = RunningState(scene.shop.ports, scene.shop.tokens)
    return any(find_dead_letters(state, Filter((str(event_id),))))


def publishes_from_another_source(scene: Scene) -> bool:
    """Publish a deposit whose source is not the gateway."""
    deposit_id = str(uuid.uuid4())
    event = {**deposit(scene, deposit_id), "source": "stranger"}
    publish(scene.shopper, event)
    # not through the gateway, whose limit of requests a slow machine would reach
    scene.shopper.until(
        lambda: (
            is_dead(scene, event["id"]) or scene.shopper.state("billing", f"deposit:{deposit_id}").status_code == 200
        ),
        "any effect",
    )
    return not is_dead(scene, event["id"])


def publishes_what_is_no_event(scene: Scene) -> bool:
    """Publish a message that Billing takes for a fault of its own, and processes again and
    again.
    """
    known = log_of(scene.shop, "billing")
    body = f"no event {uuid.uuid4()}"
    assert 204 == scene.shopper.tap.publish("AccountDepositRequested", body.encode(), "text/plain")

    def ending() -> bool:
        return "dead letter from AccountDepositRequested" in new() or "unexpected exception" in new()

    def new() -> str:
        return log_of(scene.shop, "billing")[len(known) :]

    scene.shopper.until(ending, "the end of the message")
    return "unexpected exception" in new()


def posts_an_event(scene: Scene) -> bool:
    """Post a deposit to Billing."""
    event, url = deposit(scene, str(uuid.uuid4())), f"http://127.0.0.1:{scene.shop.ports['billing']}"
    answer = httpx.post(f"{url}/events/inbox/AccountDepositRequested", json=event, trust_env=False, timeout=SECONDS)
    return answer.status_code == 200


def smuggles(scene: Scene) -> bool:
    """Send two names of the server, of which a proxy and the gateway could choose different
    ones.
    """
    sent = raw.get(b"host: evil.example\r\n" + raw.HOST, b"/products")
    return raw.exchange(scene.gateway, sent + raw.LAST)[0].status == 200


def connected(address: str, port: int) -> socket.socket:
    """Connect from an address of this machine."""
    return socket.create_connection(("127.0.0.1", port), SECONDS, source_address=(address, 0))


def sends_slowly(scene: Scene) -> bool:
    """Keep an incomplete head open beyond its time limit."""
    with connected(ANOTHER_ADDRESS, scene.gateway) as connection:
        connection.sendall(b"GET /products HTTP/1.1\r\nhost: localhost\r\nx: ")
        connection.settimeout(1)
        end = time.monotonic() + 14
        while time.monotonic() < end:
            try:
                connection.sendall(b"a")
                if connection.recv(65536):
                    return False
            except TimeoutError:
                continue
            except OSError:
                return False
    return True


def opens_many_connections(scene: Scene) -> bool:
    """Use more connections than one address may have."""
    opened = [connected(ANOTHER_ADDRESS, scene.gateway) for _ in range(PER_ADDRESS_CONNECTIONS + 5)]
    try:
        last = opened[-1]
        last.sendall(raw.get(target=b"/healthz"))
        return last.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        for each in opened:
            each.close()


def sends_a_large_body(scene: Scene) -> bool:
    """Send a body of 100 KB, most of it blanks."""
    content = json.dumps({"items": [TEA]}) + " " * 100_000
    headers = scene.eve.headers | {"content-type": "application/json"}
    return scene.shopper.http.post("/order/create", content=content, headers=headers).status_code == 201


def sends_a_slow_header(scene: Scene) -> bool:
    """Send headers that a careless parser reads for seconds, in which the gateway serves no one."""
    return any(is_slow(scene, name, text) for name, text in SLOW_HEADERS)


def is_slow(scene: Scene, name: str, text: str) -> bool:
    """Measure the CPU time of a header, and again while it is long: a pause of the machine counts
    as CPU time of the process that it stops.
    """
    return all(cpu_seconds_of_a_header(scene, name, text) > SLOW_SECONDS for _ in range(MEASUREMENTS))


def cpu_seconds_of_a_header(scene: Scene, name: str, text: str) -> float:
    """Return the CPU time that the gateway takes for a request with this header."""
    gateway = psutil.Process(scene.shop.processes[GATEWAY])
    before = sum(gateway.cpu_times()[:2])
    headers = {"content-type": "application/json"} | scene.eve.headers | {name: text}
    scene.shopper.http.post("/order/create", content=b"{}", headers=headers)
    return sum(gateway.cpu_times()[:2]) - before


def floods_as_a_caller(scene: Scene) -> bool:
    """Send more requests than a caller may within 10 s."""
    return not limited(scene, PER_CALLER, scene.eve.headers)


def floods_from_an_address(scene: Scene) -> bool:
    """Send more requests than an address may within 10 s, through a trusted proxy."""
    return not limited(scene, PER_ADDRESS, {"x-forwarded-for": "1.2.3.4, 203.0.113.7"})


def limited(scene: Scene, limit: int, headers: Mapping[str, str]) -> bool:
    """Send twice as many requests as allowed, in batches on one connection; return whether any got
    429.
    """
    head = raw.HOST + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
    one, batch = raw.get(head, b"/order/x"), 20
    for _ in range(2 * limit // batch):
        answers = raw.exchange(scene.gateway, one * batch + raw.LAST)
        if 429 in {each.status for each in answers[:-1]}:
            return True
    return False


def holds_many_requests(scene: Scene) -> bool:
    """Hold more requests than a caller may."""

    async def hold() -> set[int]:
        async with httpx.AsyncClient(base_url=scene.shop.url, timeout=SECONDS, trust_env=False) as client:
            headers = scene.eve.headers | {"prefer": "wait=2"}
            posts = (client.post("/order/create", json={"items": [TEA]}, headers=headers) for _ in range(HELD + 4))
            return {answer.status_code for answer in await asyncio.gather(*posts)}

    scene.shop.stop_app("order")
    try:
        return 429 not in asyncio.run(hold())
    finally:
        scene.shop.start_app("order")
        scene.shop.wait_ready("order")


def rebinds(scene: Scene) -> bool:
    """Read the gateway as a page whose name was made to resolve to this machine."""
    with scene.http() as http:
        return http.get("/products", headers={"host": EVIL}).status_code == 200


def called_by_a_page(scene: Scene) -> bool:
    """Order from a page of another origin."""
    headers = scene.eve.headers | {"origin": f"http://{EVIL}"}
    return scene.shopper.http.post("/order/create", json={"items": [TEA]}, headers=headers).status_code == 201


def opens_the_page(scene: Scene) -> bool:
    """Open the live page with a guess of its key."""
    with scene.page() as client:
        return client.get("/page", headers={"cookie": f"sidecart-page-{client.base_url.port}=guess"}).status_code == 200


def rebinds_the_page(scene: Scene) -> bool:
    """Read the live page at a foreign name, and register from a foreign page, with the user's
    cookie.
    """
    with scene.page() as client:
        with_key(client, scene.shop)
        cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        read = client.get("/page", headers=cookie | {"host": EVIL}).status_code
        body = {"email": new_address(), "name": "Eve"}
        sent = client.post("/api/user/register", json=body, headers={"origin": f"http://{EVIL}"}).status_code
        return 200 in (read, sent) or 201 in (read, sent)


def replays_a_letter(scene: Scene) -> bool:
    """Replay a dead letter with the key of the page and the token of a user, with another
    issuer.
    """
    with scene.page(ISSUER_KEYS=None) as client:
        headers = with_key(client, scene.shop)
        path = f"/dead-letters/user/{uuid.uuid4()}/replay"
        operator = scene.shopper.caller(new_address(), roles=("operator",))
        scene.shopper.until(
            lambda: client.post(path, headers=headers | operator).status_code != 503, "the keys of the issuer"
        )
        # 409: the page looked for the letter
        assert 409 == client.post(path, headers=headers | operator).status_code
        found = {client.post(path, headers=headers | each).status_code for each in ({}, scene.eve.headers)}
        assert found in ({401, 403}, {409}), found
        return found == {409}


def rebinds_the_mails(scene: Scene) -> bool:
    """Read all mails as a page whose name was made to resolve to this machine."""
    with scene.mail_catcher() as (url, _):
        return httpx.get(f"{url}/mails", headers={"host": EVIL}, trust_env=False).status_code == 200


def sends_a_phishing_mail(scene: Scene) -> bool:
    """Put a link into the mail of another user, by the SKU of an event."""
    items = [TEA | {"sku": f"http://{EVIL}"}]
    order = {"user_id": scene.victim.user_id, "order_id": str(uuid.uuid4()), "items": items, "amount_cents": TEA_CENTS}
    before = len(scene.shopper.mails(scene.victim.email))
    publish(scene.shopper, fresh("OrderPaid", **order) | {"subject": order["order_id"]})
    mails = scene.shopper.wait_for_mails(scene.victim.email, before + 1)
    return any(EVIL in json.dumps(mail) for mail in mails)


def reads_an_address_in_a_log(scene: Scene) -> bool:
    """Make a log name an address."""
    return scene.victim.email in logged(scene, scene.victim.email)


def controls_a_terminal(scene: Scene) -> bool:
    """Put an escape sequence and a line of one's own into a log."""
    new = logged(scene, "x%1b[2J%0aforged")
    return "\x1b" in new or "\nforged" in new


def logged(scene: Scene, text: str) -> str:
    """Deliver an event at a path of one's own, which the app logs; return the new part of
    its log.
    """
    start = len(log_of(scene.shop, "notification"))
    url, headers = scene.shop.state.local_url("notification"), {"dapr-api-token": scene.shop.tokens["notification"]}
    mark = uuid.uuid4().hex
    httpx.post(f"{url}/events/{text}/{mark}", headers=headers, content=b"{}", timeout=SECONDS, trust_env=False)
    scene.shopper.until(lambda: mark in log_of(scene.shop, "notification"), "the line")
    return log_of(scene.shop, "notification")[start:]


CONTROLS = [
    *(
        Control("tokens", name, control, GATEWAY, reads_with(make))
        for name, control, make in (
            ("a forged signature", "token signature", lambda scene: scene.victim.forger.by_own_key()),
            ("an expired token", "token expiry", lambda scene: scene.victim.forger.ended(SKEW_SECONDS + 60)),
            ("a token for another audience", "token audience", lambda scene: scene.victim.forger.good(aud="another")),
            (
                "a token that names another issuer",
                "token issuer",
                lambda scene: scene.victim.forger.good(iss=f"https://{EVIL}"),
            ),
            ("alg: none", "token algorithms", lambda scene: scene.victim.forger.unsigned("none")),
            (
                "an HMAC with the public key",
                "token algorithms",
                lambda scene: scene.victim.forger.confused(scene.victim.forger.real.as_pem(private=False)),
            ),
        )
    ),
    Control("tokens", "a token in the query", "place of a token", GATEWAY, reads_by_query),
    Control("other users", "order on behalf of another", "identity of the body", GATEWAY, orders_for_the_victim),
    Control("other users", "register an unverified address", "verified address", GATEWAY, registers_unverified),
    Control(
        "other users",
        "read another's data",
        "owner in the path",
        GATEWAY,
        eve_reads(lambda scene: f"/user/{scene.victim.user_id}"),
    ),
    Control(
        *("other users", "read another's order", "owner of an answer", GATEWAY),
        eve_reads(lambda scene: f"/order/{scene.victim.order_id}"),
    ),
    Control("other users", "read another's pending order", "owner of a pending command", GATEWAY, reads_pending),
    Control("other users", "deposit for oneself", "scope of a command", GATEWAY, deposits_for_oneself),
    Control("other users", "take another's Idempotency-Key", "owner of a key", GATEWAY, takes_a_key),
    Control("other users", "compute another's id", "secret of the key ids", GATEWAY, computes_an_id),
    Control("other users", "order for a cent", "price list", "order", orders_for_a_cent),
    Control("processes", "post a deposit to Billing", "token of an app", "billing", posts_an_event),
    Control("events", "a deposit of a foreign source", "source of an event", "billing", publishes_from_another_source),
    Control("events", "a message that is no event", "event parser", "billing", publishes_what_is_no_event),
    Control("requests", "two Host headers that disagree", "request framing", GATEWAY, smuggles),
    Control("requests", "send a head slowly", "time limits", GATEWAY, sends_slowly),
    Control("requests", "send a large body", "size limits", GATEWAY, sends_a_large_body),
    Control("requests", "a header that is slow to parse", "parser of the media type", GATEWAY, sends_a_slow_header),
    Control(
        *("requests", "too many requests of a caller", "limit of a caller", GATEWAY, floods_as_a_caller),
        env={"REQUESTS_PER_CALLER": "0"},
    ),
    Control(
        *("requests", "too many requests from an address", "limit of an address", GATEWAY, floods_from_an_address),
        env={"REQUESTS_PER_ADDRESS": "0"},
    ),
    Control(
        *("requests", "too many held requests", "limit of held requests", GATEWAY, holds_many_requests),
        env={"HELD_PER_CALLER": "0"},
    ),
    Control(
        *("requests", "too many connections from an address", "limit of connections", GATEWAY, opens_many_connections),
        env={"CONNECTIONS_PER_ADDRESS_MAX": "1000"},
    ),
    Control("injection", "a link in a mail", "text of mails", "notification", sends_a_phishing_mail),
    Control("injection", "an address in a log", "masking of logs", "notification", reads_an_address_in_a_log),
    Control(
        "injection", "an escape sequence in a log", "control characters in logs", "notification", controls_a_terminal
    ),
    Control("browser", "read the gateway by DNS rebinding", "host check", GATEWAY, rebinds),
    Control(
        "browser", "call the gateway from a foreign page", "origin check of the gateway", GATEWAY, called_by_a_page
    ),
    Control("browser", "open the live page without its key", "key of the live page", MONITOR, opens_the_page),
    Control(
        "browser",
        "use the live page from a foreign page",
        "host and origin of the live page",
        MONITOR,
        rebinds_the_page,
    ),
    Control("browser", "replay a dead letter as a user", "operators", MONITOR, replays_a_letter),
    Control(
        "browser",
        "read mails by DNS rebinding",
        "host check of the mail catcher",
        MAIL_CATCHER,
        rebinds_the_mails,
    ),
]
"""All controls that a patch or a setting takes out."""
