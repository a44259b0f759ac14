"""The documented commands that start a shop, and those for a running shop, run exactly as written.

Only ports change, so that a test can run next to a running shop.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from shop.acting import acting
from sidecart.cli.run import AUTH_IS_OFF
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from tests.e2e.other_issuer import OtherIssuer
from tests.e2e.otlp import Receiver
from tests.full.documentation import documented
from tests.full.project_copy import Running, foreground, running, shell_environment

SECONDS = 60
WITHOUT_PAGE = "./sidecart run --no-monitor"
TRACED = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 ./sidecart run"
SEVERAL = "./sidecart run --gateways 3 --replicas order=2"
OTHER_ISSUER = "OIDC_ISSUER=https://id.example.com/realms/shop OIDC_AUDIENCE=shop ./sidecart run"
NO_TOKENS = "AUTH=off ./sidecart run"
TOKEN = r"^[\w-]+\.[\w-]+\.[\w-]+$"
STARTS = ("make run", "make run BROKER=rabbitmq STORE=postgres", "make dev")
RUNNING = {
    "./sidecart status": r"^gateway +\d+ +\d+ +ready$",
    "./sidecart logs": r"^order-sidecar +\| ",
    "./sidecart logs order": r"",  # an app without trouble logs nothing
    "./sidecart dead-letters list": r"^0 dead letters",
    "./sidecart dead-letters list --topic OrderPaid": r"^0 dead letters",
    "./sidecart dead-letters replay --topic EmailRequested --dry-run": r"^0 dead letters",
    "./sidecart dead-letters replay --topic EmailRequested": r"^0 dead letters",
    './sidecart dead-letters discard --reason "no such user"': r"^0 dead letters",
    "./sidecart dead-letters groups": r"^0 groups, 0 dead letters$",
    "./sidecart audit-trail": r"^no entries$",  # no operator has acted
    "./sidecart reconcile --dry-run": r"^\d+ unfinished$",
    "./sidecart reconcile": r"^0 stuck$",
    "./sidecart token ann@example.com": TOKEN,
    "./sidecart token provider@example.com --scope deposits": TOKEN,
    "./sidecart token boss@example.com --role operator": TOKEN,
    "./sidecart rotate-key-secret": r"^the rotation has begun and ends at ",
}
"""Each command for a running shop, and what its output contains."""
FLOW_ID = "019bc104-dd14-7cc5-8058-a566ee2e7ad6"
FLOW = f"./sidecart flow {FLOW_ID}"
CATCHER = ".venv/bin/python -m sidecart.launcher.servers.mailcatcher --smtp-port 1025 --http-port 8025"
REJECTING = f'{CATCHER} --to-recipient "550 5.1.1 no such user here"'
REPLAY = "./sidecart dead-letters replay --topic EmailRequested"
REAL_MAIL = "SMTP_URL=smtp://localhost:1025 MAIL_FROM=shop@example.com ./sidecart run"


def pids(shop: Running) -> dict[str, int]:
    """Return the pids in `./sidecart status`, by name; empty unless every process is ready."""
    output = shop.run("./sidecart", "status")
    rows = re.findall(r"^(\S+) +(\d+) +\d* +(?:up|ready)$", output.stdout, re.MULTILINE)
    return {name: int(pid) for name, pid in rows} if output.returncode == 0 else {}


def place_an_order(shop: Running) -> None:
    """Register a user with money, and place an order."""
    with httpx.Client(base_url=shop.url, trust_env=False, auth=acting(shop.issuer_folder)) as client:
        user_id = client.post("/user/register", json={"email": "ann@example.com", "name": "Ann"}).json()["user_id"]
        client.post("/account/deposit", json={"user_id": user_id, "amount_cents": 900}).raise_for_status()
        order = {"user_id": user_id, "items": [{"sku": "tea", "quantity": 2, "unit_price_cents": 450}]}
        client.post("/order/create", json=order).raise_for_status()


def is_served(url: str) -> bool:
    """Return whether a server answers at a URL."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def is_another(shop: Running, name: str, before: int) -> bool:
    """Return whether a process of that name runs with another pid than before."""
    return pids(shop).get(name, before) != before


def test_the_live_page_can_be_turned_off(tmp_path: Path) -> None:
    """With --no-monitor, neither the monitor nor its sidecar runs."""
    with running(tmp_path, documented(WITHOUT_PAGE)) as shop:
        names = set(pids(shop))
        output = shop.log.read_text()

    assert {"gateway", "notification-sidecar"} <= names
    assert set() == {name for name in names if name.startswith("monitor")}
    assert "live page" not in output


def test_traces_go_to_the_configured_receiver(tmp_path: Path) -> None:
    """One variable sends the spans of apps and sidecars to a receiver; the test changes the port
    only.
    """
    command = documented(TRACED)
    trace_id = "ab" * 16
    traced = {"gateway", "gateway-sidecar", "user", "user-sidecar", "billing-sidecar", "notification"}
    with (
        Receiver() as receiver,
        running(tmp_path, command.replace("http://127.0.0.1:4318", receiver.endpoint)) as shop,
    ):
        body = {"email": "ann@example.com", "name": "Ann"}
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        httpx.post(
            f"{shop.url}/user/register", json=body, headers=headers, trust_env=False, auth=acting(shop.issuer_folder)
        )
        receiver.wait(trace_id, lambda spans: traced <= {span.service for span in spans}, SECONDS)


def test_several_gateways_restart_after_kills(tmp_path: Path) -> None:
    """Three gateways and two replicas of a service run behind one address; killed processes return
    in `status`.
    """
    with running(tmp_path, documented(SEVERAL)) as shop:
        before = pids(shop)
        body = {"email": "ann@example.com", "name": "Ann"}
        first = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False, auth=acting(shop.issuer_folder))
        page = re.findall(r"^The live page is at (\S+)$", shop.log.read_text(), re.MULTILINE)
        opened = [httpx.get(each, trust_env=False, follow_redirects=True) for each in page]
        for name in ("gateway-1", "monitor"):
            psutil.Process(before[name]).kill()
            Deadline().until(partial(is_another, shop, name, before[name]), SECONDS, shop.log.read_text, 0.5)
        output = shop.log.read_text()

    assert [200] == [answer.status_code for answer in opened]
    assert "monitor ended with code -9: restarting now" in output
    assert {
        "monitor",
        "monitor-sidecar",
        "proxy",
        "gateway",
        "gateway-1",
        "gateway-2",
        "order",
        "order-1",
        "order-1-sidecar",
    } <= set(before)
    assert 201 == first.status_code
    assert "gateway-1 ended with code -9: restarting now" in output


@pytest.mark.parametrize("command", STARTS)
def test_a_start_of_the_documentation_works(tmp_path: Path, command: str) -> None:
    """The shop registers a user."""
    with running(tmp_path, documented(command)) as shop:
        body = {"email": "ann@example.com", "name": "Ann"}
        answer = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False, auth=acting(shop.issuer_folder))
        assert 201 == answer.status_code, answer.text
        known = documented(FLOW).replace(FLOW_ID, answer.json()["user_id"])
        found, unknown = shop.run("bash", "-c", known), shop.run("bash", "-c", FLOW)
        assert (0, 1) == (found.returncode, unknown.returncode), (found, unknown)
        assert re.search(r"^user: user:\S+  .*\buser_id ", found.stdout, re.MULTILINE), found


def test_a_shop_accepts_the_tokens_of_another_issuer_only(tmp_path: Path) -> None:
    """The test replaces the issuer's address only."""
    with OtherIssuer() as issuer:
        command = documented(OTHER_ISSUER).replace("https://id.example.com/realms/shop", issuer.name)
        with running(tmp_path, command) as shop:
            body = {"name": "Ann"}
            local = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False, auth=acting(shop.issuer_folder))
            headers = issuer.bearer("ann@example.com")
            other = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False, headers=headers)
            token = shop.run("./sidecart", "token", "ann@example.com")
            output = shop.log.read_text()

    assert (401, 201) == (local.status_code, other.status_code)
    assert (1, "") == (token.returncode, token.stdout)
    assert f"Each call needs an access token of {issuer.name}" in output
    assert "./sidecart token" not in output


def test_a_shop_without_tokens_says_so(tmp_path: Path) -> None:
    """Each body names its user. The start and /readyz say that no token is needed."""
    with running(tmp_path, documented(NO_TOKENS)) as shop:
        body = {"email": "ann@example.com", "name": "Ann"}
        answer = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False)
        ready = httpx.get(f"{shop.url}/readyz", trust_env=False).json()
        output = shop.log.read_text()

    assert 201 == answer.status_code
    assert "off" == ready["auth"]
    assert AUTH_IS_OFF in output
    assert "./sidecart token" not in output


def test_the_commands_for_a_running_shop_work(tmp_path: Path) -> None:
    """Each command finds the shop of its folder, and ends with 0."""
    with running(tmp_path, "./sidecart run") as shop:
        body = {"email": "ann@example.com", "name": "Ann"}
        assert (
            201
            == httpx.post(
                f"{shop.url}/user/register", json=body, trust_env=False, auth=acting(shop.issuer_folder)
            ).status_code
        )
        for command, words in RUNNING.items():
            done = shop.run("bash", "-c", documented(command))
            assert 0 == done.returncode, f"{command}: {done}"
            assert re.search(words, done.stdout, re.MULTILINE), f"{command}: {done}"


def test_the_rehearsal_of_real_mail_works(tmp_path: Path) -> None:
    """The shop sends the mail of an order to a server that the launcher does not know."""
    smtp, page = free_port(), free_port()
    catcher = documented(CATCHER).replace("1025", str(smtp)).replace("8025", str(page))
    start = documented(REAL_MAIL).replace("1025", str(smtp))
    with (
        foreground(root(), catcher, tmp_path / "catcher.log", env=shell_environment(root())),
        running(tmp_path, start) as shop,
    ):
        place_an_order(shop)
        mails = f"http://127.0.0.1:{page}/mails"
        Deadline().until(
            lambda: "ann@example.com" in httpx.get(mails, trust_env=False).text, SECONDS, shop.log.read_text, 0.2
        )


def test_the_rehearsal_of_dead_letters_works(tmp_path: Path) -> None:
    """A rejected mail is one group of dead letters, and arrives by a replay after the repair."""
    smtp, page = free_port(), free_port()

    def at_free_ports(command: str) -> str:
        return documented(command).replace("1025", str(smtp)).replace("8025", str(page))

    def groups() -> str:
        return shop.run("bash", "-c", documented("./sidecart dead-letters groups")).stdout

    with running(tmp_path, at_free_ports(REAL_MAIL)) as shop:
        with foreground(root(), at_free_ports(REJECTING), tmp_path / "rejecting.log", env=shell_environment(root())):
            place_an_order(shop)
            Deadline().until(lambda: "EmailRequested" in groups(), SECONDS, groups, 0.5)
        with foreground(root(), at_free_ports(CATCHER), tmp_path / "catcher.log", env=shell_environment(root())):
            mails = f"http://127.0.0.1:{page}/mails"
            Deadline().until(lambda: is_served(mails), SECONDS, shop.log.read_text, 0.2)
            replayed = shop.run("bash", "-c", documented(REPLAY))
            received = httpx.get(mails, trust_env=False).text

    assert (0, True) == (replayed.returncode, "1 replayed" in replayed.stdout), replayed
    assert "ann@example.com" in received
