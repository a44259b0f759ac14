"""Tests of the shop in containers: the unchanged compose file on each broker, in any start order,
with crashes.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from shop.acting import acting
from shop.demo import Demo, DemoFailed
from sidecart.launcher import proxy
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import app_ids
from tests.compose.engine import Engine, EngineError
from tests.compose.stack import FILE, FOLDER, SECONDS_MAX, SECRETS, Stack
from tests.e2e.first_events import LONG_SECONDS

pytestmark = pytest.mark.usefixtures("secrets")

SIGNING_KEY = SECRETS / "token-issuer.pem"


@pytest.mark.parametrize(("broker", "store"), [("redis", "redis"), ("rabbitmq", "postgres")])
def test_the_unchanged_file_runs_both_flows(engine: Engine, broker: str, store: str) -> None:
    """All health checks pass, the demo passes, each read works, and no container runs as root."""
    with Stack(engine, broker, store) as stack:
        stack.wait_ready()
        play(stack)
        assert 200 == ask(stack, "/products")

        checked = [name for name, service in stack.services.items() if "test" in service.get("healthcheck", {})]
        assert {*app_ids(), "issuer", "mail", "trimmer", "redis", *({"rabbitmq", "postgres"} & {broker, store})} == set(
            checked
        )
        for name in checked:
            stack.until(lambda name=name: stack.is_healthy(name), f"{name} to be healthy")  # type: ignore[misc]  # bound now
        users = {name: stack.inspect(name)["Config"]["User"] for name in stack.services}
        assert {"10001:10001"} == {users[name] for name in (*app_ids(), "issuer", "mail")}
        assert {"999:999"} == {users[name] for name in ({"redis", "rabbitmq", "postgres"} & set(users))}
        assert {"65532:65532"} == {users[name] for name in ("sentry", *(f"{name}-dapr" for name in app_ids()))}


def test_several_gateways_share_one_address(engine: Engine) -> None:
    """The demo passes through the proxy, also while the first gateway is down, and each container
    is read-only, has no capability, gains none, and has limits of memory and CPU.
    """
    with Stack(engine, "rabbitmq", "postgres", "gateways") as stack:
        stack.until(lambda: ready_gateways(stack) == 3, "three ready gateways")
        play(stack, stack.proxy_url)
        stack.stop("gateway")
        play(stack, stack.proxy_url)
        stack.start("gateway")
        stack.until(lambda: ready_gateways(stack) == 3, "the first gateway to be ready again")
        for name in stack.services:
            found = stack.inspect(name)
            limits = found["HostConfig"]
            assert limits["ReadonlyRootfs"], name
            assert limits["Memory"] > 0, name
            assert limits["NanoCpus"] > 0, name
            status = Path(f"/proc/{found['State']['Pid']}/status").read_text("ascii")
            held = dict(re.findall(r"^(CapEff|CapBnd|NoNewPrivs):\s+(\w+)$", status, re.MULTILINE))
            assert {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"} == held, name


def ready_gateways(stack: Stack) -> int:
    """Return how many gateways report that they are ready, by their own containers' check."""
    words = "import sys, urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"
    names = [name for name in stack.services if name in proxy.CONTAINERS]
    return sum(stack.engine.succeeds("exec", stack.container(name), "python", "-c", words) for name in names)


def test_new_passwords_reach_an_existing_database(engine: Engine) -> None:
    """The records stay while the passwords change; a login with the old password is refused."""
    files = [*SECRETS.glob("*-servers.env"), SECRETS / "servers.env"]
    kept = {file: file.read_bytes() for file in files}
    try:
        with Stack(engine, "redis", "postgres") as stack:
            stack.wait_ready()
            play(stack)
            old = postgres_url("user")
            for file in files:
                file.unlink()
            subprocess.run([FOLDER / "make-secrets"], check=True)
            stack.recreate()
            stack.wait_ready()
            play(stack)

            assert "password authentication failed" in refusal(stack, old)
            assert "" == refusal(stack, postgres_url("user"))
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def postgres_url(login: str) -> str:
    """Return the address of the store with a login, as its sidecar reads it."""
    lines = (SECRETS / f"{login}-servers.env").read_text("utf-8").splitlines()
    [url] = [line.partition("=")[2] for line in lines if line.startswith("POSTGRES_URL=")]
    return url


def refusal(stack: Stack, url: str) -> str:
    """Return why PostgreSQL refuses a connection of another container, or an empty text."""
    try:
        stack.engine.podman("exec", stack.container("postgres"), "psql", url, "-c", "SELECT 1")
    except EngineError as error:
        return str(error)
    return ""


def test_any_order_of_starts_works(engine: Engine) -> None:
    """The containers start in reverse order: sidecars without broker, apps without sidecars, the
    gateway last.
    """
    with Stack(engine, "redis", reverse=True) as stack:
        stack.wait_ready()
        play(stack)


def test_killed_containers_restart_and_the_shop_continues(engine: Engine) -> None:
    """Each kind of container restarts after a kill.

    A health check fails while the store is unreachable, and passes again afterwards. The records
    are still there.
    """
    with Stack(engine, "redis") as stack:
        stack.wait_ready()
        for name in ("order", "order-dapr", "gateway", "gateway-dapr", "issuer", "sentry", "redis"):
            before = stack.inspect(name)["State"]["Pid"]
            stack.crash(name)
            stack.until(lambda: stack.inspect(name)["State"]["Pid"] not in (0, before), f"{name} to come back")  # noqa: B023 - it is called at once
        stack.until(lambda: takes_orders(stack), "an order to be taken")
        play(stack)

        kept = registered(stack)
        assert 200 == ask(stack, kept)
        stack.stop("redis")
        stack.until(lambda: ask(stack, "/user/0192f0c1-2a3b-7c4d-8e5f-60718293a4b5") == 503, "a failing read")
        stack.until(lambda: not stack.is_healthy("user"), "the User Service to report unhealthy")
        stack.start("redis")
        stack.until(lambda: stack.is_healthy("user"), "the User Service to be healthy")
        stack.until(lambda: ask(stack, kept) == 200, "the user from before the restart")


def test_a_restarted_broker_gets_its_consumers_back(engine: Engine) -> None:
    """After RabbitMQ restarts, the keeper finds sidecars with a wrong number of consumers and
    restarts them.
    """
    with Stack(engine, "rabbitmq") as stack:
        stack.wait_ready()
        play(stack)
        before = consumers(stack)
        pid = stack.inspect("rabbitmq")["State"]["Pid"]
        stack.crash("rabbitmq")
        stack.until(lambda: stack.inspect("rabbitmq")["State"]["Pid"] not in (0, pid), "the broker to come back")
        try:
            stack.until(lambda: consumers(stack) == before, "every queue to have its one consumer")
        except LaunchError:
            print(consumers(stack))
            raise
        print(engine.podman("logs", stack.container("keeper")))
        play(stack)

        assert dict.fromkeys(app_ids(), True) == {app_id: keeper_finds_ready(stack, app_id) for app_id in app_ids()}
        stack.stop("user")
        stack.crash("user-dapr")
        stack.until(lambda: not keeper_finds_ready(stack, "user"), "the keeper to see that the sidecar waits for User")
        assert keeper_finds_ready(stack, "order")
    assert {1} == set(before.values())


def test_the_first_event_of_each_topic_is_prompt(engine: Engine) -> None:
    """All five apps are killed twice, and stopped twice for different times: twenty restarts
    without a late event.
    """
    with Stack(engine, "redis") as stack:
        stack.wait_ready()
        assert {} == late_events(stack, "--publish-story")
        for down_seconds in (None, None, 0.0, LONG_SECONDS):
            before = {name: stack.inspect(name)["State"]["StartedAt"] for name in app_ids()}
            for name in app_ids():
                stack.crash(name) if down_seconds is None else stack.stop(name)
            stack.deadline.pause(down_seconds or 0.0)
            for name in app_ids() if down_seconds is not None else ():
                stack.start(name)
            for name in app_ids():
                stack.until(lambda: stack.inspect(name)["State"]["StartedAt"] != before[name], f"{name} to come back")  # noqa: B023 - it is called at once
                stack.until(lambda: stack.is_healthy(name), f"{name} to be healthy")  # noqa: B023 - it is called at once
            stack.wait_ready()
            assert {} == late_events(stack)


def late_events(stack: Stack, *words: str) -> dict[str, float]:
    """Return the consumers that processed the first event of a topic late, with their seconds."""
    sidecars = json.dumps({app_id: f"http://{stack.address(f'{app_id}-dapr', 'mesh')}:3500" for app_id in app_ids()})
    program = [sys.executable, "-m", "tests.compose.first_events", "--sidecars", sidecars, "--redis", "127.0.0.1:6379"]
    files = [(SECRETS / name).read_text("utf-8") for name in ("keeper.env", "servers.env")]
    secrets = dict(line.split("=", 1) for text in files for line in text.splitlines())
    late = stack.run_in_network("redis", [*program, *words], secrets)
    return dict(json.loads(late))


def keeper_finds_ready(stack: Stack, app_id: str) -> bool:
    """Return the keeper's check of an app's sidecar, run in the keeper's container."""
    words = "import sys; from sidecart.launcher.servers.rabbitmq_keeper import is_ready; "
    words += "sys.exit(not is_ready(f'http://{sys.argv[1]}-dapr:3500'))"
    return stack.engine.succeeds("exec", stack.container("keeper"), "python", "-c", words, app_id)


def consumers(stack: Stack) -> dict[str, int]:
    """Return the number of consumers by queue, or {} while the broker does not answer."""
    words = ["rabbitmqctl", "-q", "--no-table-headers", "list_queues", "name", "consumers"]
    try:
        output = stack.engine.podman("exec", stack.container("rabbitmq"), *words)
    except EngineError:
        return {}
    return {name: int(number) for name, number in (line.split() for line in output.splitlines() if line.strip())}


def play(stack: Stack, url: str = "") -> None:
    """Play the demo until it passes, at the gateway or another address.

    A 202 instead of a 201 is not a failure of the file. Debian's aardvark-dns (1.4) leaves name
    queries of containers unanswered for seconds after other containers started. The first
    caller waits for that long.
    """

    def passes() -> bool:
        try:
            Demo(url or stack.url, stack.mail_url, stack.deadline, acting(SIGNING_KEY)).play()
        except DemoFailed as failure:
            print(f"retrying: {failure}")
            return False
        return True

    stack.until(passes, "the demo to pass")


def ask(stack: Stack, path: str) -> int:
    """Return the status of one GET; 0 without a response."""
    try:
        auth = acting(SIGNING_KEY)
        return httpx.get(f"{stack.url}{path}", trust_env=False, timeout=SECONDS_MAX, auth=auth).status_code
    except httpx.TransportError:
        return 0


def takes_orders(stack: Stack) -> bool:
    """Return whether a registration succeeds at the moment."""
    return registered(stack) != ""


def registered(stack: Stack) -> str:
    """Register a user; return its path, or nothing without a 201."""
    body, auth = {"email": f"{os.urandom(8).hex()}@example.com", "name": "Ann"}, acting(SIGNING_KEY)
    try:
        answer = httpx.post(f"{stack.url}/user/register", json=body, trust_env=False, timeout=SECONDS_MAX, auth=auth)
    except httpx.TransportError:
        return ""
    return str(answer.headers["location"]) if answer.status_code == 201 else ""


def test_no_other_file_changes_the_compose_file() -> None:
    """The folder has neither an override file nor a .env file."""
    assert [] == [path.name for path in FILE.parent.glob("*override*")]
    assert not Path(FILE.parent / ".env").exists()
