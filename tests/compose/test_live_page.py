"""The live page in containers, on each broker: it shows an order, and refuses callers without its
key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from shop.acting import acting
from sidecart.launcher.topics import MONITOR, app_ids, monitor_subscriptions
from tests.compose.engine import Engine, EngineError
from tests.compose.stack import SECONDS_MAX, SECRETS, Stack
from tests.compose.test_compose import SIGNING_KEY, registered
from tests.e2e.live_client import LiveClient, Notice, admitted, steps
from tests.e2e.shopper import TEA, new_address

pytestmark = pytest.mark.usefixtures("secrets")

SIDECAR = f"{MONITOR}-dapr"
SHOWN = {"OrderCreateRequested", "OrderCreated", "OrderPaymentRequested", "OrderPaymentFailed", "EmailRequested"}
"""Events of an order that cannot be paid."""
ASK = """\
import sys, urllib.error, urllib.request as u
url, *headers = sys.argv[1:]
request = u.Request(url, headers=dict(each.split("=", 1) for each in headers))
try:
    print(u.build_opener(u.ProxyHandler({})).open(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.mark.parametrize(
    ("broker", "store", "profiles"), [("redis", "redis", ()), ("rabbitmq", "postgres", ("gateways",))]
)
def test_the_page_shows_an_order(engine: Engine, broker: str, store: str, profiles: Sequence[str]) -> None:
    """It shows the events, the mail and each process, sends requests for a user, and leaves nothing
    at the broker.
    """
    with Stack(engine, broker, store, "live", *profiles) as stack:
        stack.wait_ready()
        stack.until(lambda: stack.is_healthy(MONITOR), "the page to be healthy")
        with LiveClient(stack.page_url) as viewer:
            viewer.until_tap("on")
            order_id = ordered(stack)
            viewer.until(lambda notices: set(steps(notices, order_id)) >= SHOWN, "events of the order")
            viewer.until(lambda notices: any(each.kind == "mails" for each in notices), "mail of the order")
            names = [name for name in stack.services if name.startswith("gateway") and not name.endswith("-dapr")]
            viewer.until(lambda notices: healthy(notices) == {*app_ids(), *names}, "health of each process")
            if broker == "redis":
                discards_a_dead_letter(stack, viewer)
            if broker == "rabbitmq":
                assert {f"{MONITOR}-{one.topic}" for one in monitor_subscriptions()} == expiring(stack)
        stack.until(lambda: registration(stack) == 201, "a registration by the page")
        assert {} == weak(stack, MONITOR) | weak(stack, SIDECAR)
        stack.stop(MONITOR)
        assert [] == [each for each in consumers(stack, broker) if each.startswith(MONITOR)]


def test_only_callers_with_the_key_reach_the_page(engine: Engine) -> None:
    """Neither a program of this machine nor another container does; with the key both do."""
    with Stack(engine, "redis", "redis", "live") as stack:
        stack.wait_ready()
        stack.until(lambda: stack.is_healthy(MONITOR), "the page to be healthy")
        address = urlsplit(stack.page_url)
        base, [key] = f"http://{address.netloc}", parse_qs(address.query)["key"]
        cookie = f"sidecart-page-{address.port}={key}"
        with httpx.Client(base_url=base, trust_env=False, timeout=SECONDS_MAX) as stranger:
            refused = {path: stranger.get(path).status_code for path in ("/", "/page", "/live", "/?key=guess")}
            own = {"origin": base}
            refused |= {
                path: stranger.post(path, headers=own).status_code
                for path in ("/dead-letters/order/x/replay", "/api/user/register")
            }
            rebound = stranger.get("/page", headers={"host": "evil.example", "cookie": cookie}).status_code
            foreign = stranger.post("/api/user/register", headers={"origin": "https://evil.example", "cookie": cookie})
        with admitted(stack.page_url) as viewer:
            admits = viewer.get("/page").status_code

        assert {403} == {*refused.values(), rebound, foreign.status_code}, refused
        assert 200 == admits
        inside = f"http://{MONITOR}:{address.port}/page"
        host = f"Host=127.0.0.1:{address.port}"
        assert 403 == asked(stack, "order", inside)
        assert 403 == asked(stack, "order", inside, host)
        assert 200 == asked(stack, "order", inside, host, f"Cookie={cookie}")

        assert_confined(stack)


def assert_confined(stack: Stack) -> None:
    """Check what the page's sidecar and its login allow, each beside one that allows it."""
    own, gateway = token("monitor"), token("gateway")
    path = "3500/v1.0/invoke/order/method/readyz"
    stack.until(lambda: asked(stack, MONITOR, f"http://gateway-dapr:{path}", gateway) == 200, "an invocation")
    assert 404 == asked(stack, MONITOR, f"http://{SIDECAR}:{path}", own)  # monitor.yaml does not allow it
    assert 401 == asked(stack, MONITOR, f"http://{SIDECAR}:3500/v1.0/metadata", gateway)
    assert 200 == asked(stack, MONITOR, f"http://{SIDECAR}:3500/v1.0/metadata", own)

    assert "OK" == dry_run(stack, "gateway", "XADD", "OrderCreateRequested", "*", "a", "b")
    for words in (("XADD", "OrderCreateRequested", "*", "a", "b"), ("HGETALL", "order||x"), ("FLUSHALL",)):
        assert "permissions" in dry_run(stack, MONITOR, *words), words
    assert "OK" == dry_run(stack, MONITOR, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "OrderCreateRequested", ">")


def token(app_id: str) -> str:
    """Return the header with the token of an app's sidecar."""
    found = re.search(r"^DAPR_API_TOKEN=(.*)$", (SECRETS / f"{app_id}.env").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return f"dapr-api-token={found[1]}"


def asked(stack: Stack, service: str, url: str, *headers: str) -> int:
    """Return the status of a GET that a container sends; 0 without a response."""
    try:
        return int(stack.engine.podman("exec", stack.container(service), "python", "-c", ASK, url, *headers))
    except EngineError as error:
        print(error)
        return 0


def dry_run(stack: Stack, login: str, *words: str) -> str:
    """Return what Redis says about a command of a login, without running it."""
    command = ["redis-cli", "--user", "sidecart", "ACL", "DRYRUN", login, *words]
    return stack.engine.podman("exec", stack.container("redis"), *command).strip()


def ordered(stack: Stack) -> str:
    """Place an order that cannot be paid; return its id."""
    stack.until(lambda: registered(stack) != "", "a registration")
    auth = acting(SIGNING_KEY)
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=SECONDS_MAX, auth=auth) as http:
        user = http.post("/user/register", json={"email": new_address(), "name": "Ann"})
        answer = http.post("/order/create", json={"user_id": user.json()["user_id"], "items": [TEA]})
    assert answer.status_code in (201, 202), answer.text  # a name query may be late
    return str(answer.headers["location"]).rpartition("/")[2]


def registration(stack: Stack) -> int:
    """Return the status of a registration that the page sends for a user."""
    with admitted(stack.page_url) as client:
        body, headers = {"email": new_address(), "name": "Ann"}, {"origin": str(client.base_url).rstrip("/")}
        return client.post("/api/user/register", json=body, headers=headers).status_code


def discards_a_dead_letter(stack: Stack, viewer: LiveClient) -> None:
    """Publish an event that no app can read; the page shows its dead letter, and discards it."""
    words = ["redis-cli", "--user", "sidecart", "XADD", "UserCreateRequested", "*", "data", "hello"]
    stack.engine.podman("exec", stack.container("redis"), *words)
    viewer.until(lambda notices: bool(dead_letters(notices)), "dead letter")
    [found] = dead_letters(viewer.notices)
    with admitted(stack.page_url) as client:
        path, origin = f"/dead-letters/{found['service']}/{found['id']}/discard", str(client.base_url).rstrip("/")
        assert 200 == client.post(path, headers={"origin": origin}).status_code
    viewer.until(lambda notices: not dead_letters(notices), "discarded dead letter")


def dead_letters(notices: Sequence[Notice]) -> list[dict[str, str]]:
    """Return the dead letters that the page shows."""
    found = [each.body for each in notices if each.kind == "dead_letters"]
    return list(found[-1]["newest"]) if found else []


def healthy(notices: Sequence[Notice]) -> set[str]:
    """Return the replicas that the page shows as ready, with a sidecar that is up."""
    found = [each.body for each in notices if each.kind == "health"]
    states = found[-1] if found else []
    return {each["name"] for each in states if (each["app"], each["sidecar"]) == ("ready", "up")}


def weak(stack: Stack, service: str) -> dict[str, object]:
    """Return the settings of a running container that leave it more rights than it needs."""
    found = stack.inspect(service)["HostConfig"]
    wanted = {"ReadonlyRootfs": True, "Memory": 256 * 2**20, "NanoCpus": 1_000_000_000}
    wrong = {name: found[name] for name, value in wanted.items() if found[name] != value}
    user = stack.inspect(service)["Config"]["User"]
    return wrong | ({} if user.partition(":")[0].isdigit() and int(user.partition(":")[0]) > 0 else {"User": user})


def consumers(stack: Stack, broker: str) -> list[str]:
    """Return the names under which the broker keeps events: groups or queues."""
    if broker == "rabbitmq":
        words = ["rabbitmqctl", "-q", "--no-table-headers", "list_queues", "name"]
        return stack.engine.podman("exec", stack.container(broker), *words).split()
    topics, found = {one.topic for one in monitor_subscriptions()}, []
    for topic in topics:
        words = ["redis-cli", "--user", "sidecart", "XINFO", "GROUPS", topic]
        found += stack.engine.podman("exec", stack.container(broker), *words).split()
    return found


def expiring(stack: Stack) -> set[str]:
    """Return the queues with the policy by which RabbitMQ deletes those without a consumer."""
    words = ["rabbitmqctl", "-q", "--no-table-headers", "list_queues", "name", "policy"]
    lines = stack.engine.podman("exec", stack.container("rabbitmq"), *words).splitlines()
    return {line.split()[0] for line in lines if line.split()[1:] == [MONITOR]}
