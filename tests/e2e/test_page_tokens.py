"""Tests of the live page with each kind of callers: the local issuer, another one, and none."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.app import SHOP
from sidecart.edge.callers import OPERATOR
from sidecart.issuer import keys, tokens
from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topology import sidecar_of
from sidecart.monitor.gateway_proxy import NO_TOKENS
from sidecart.monitor.page import NO_FORMS
from tests.e2e.conftest import options
from tests.e2e.live_client import LiveClient, Notice, admitted
from tests.e2e.other_issuer import OtherIssuer
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, new_address

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

DEPOSIT_CENTS = 10_000
YACHT = {"sku": "yacht", "quantity": 1, "unit_price_cents": 99_000_000}


@pytest.fixture(scope="module", params=[{}, {"AUTH": "off"}], ids=["local-issuer", "auth-off"])
def acting_page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop whose page acts for every caller."""
    made = options(tmp_path_factory.mktemp("page"))
    with System(replace(made, monitor=True, settings={**made.settings, **request.param}), print) as running:
        yield running


@pytest.fixture(scope="module")
def issuer() -> Iterator[OtherIssuer]:
    """Start another issuer."""
    with OtherIssuer() as running:
        yield running


@pytest.fixture(scope="module")
def closed_page(issuer: OtherIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with the tokens of another issuer, for which the page has none."""
    made = options(tmp_path_factory.mktemp("closed"))
    with System(replace(made, monitor=True, settings={**made.settings, **issuer.settings}), print) as running:
        yield running


def send(shop: System, path: str, body: object = None, **headers: str) -> httpx.Response:
    """Send a POST request as the page does."""
    with admitted(shop.monitor_url) as client:
        origin = f"http://{urlsplit(shop.monitor_url).netloc}"
        return client.post(path, json=body, headers={"origin": origin, **headers})


def dead_letter(shop: System) -> str:
    """Make the Order Service store a dead letter; return its id once the page counts it."""
    order_id = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": order_id,
        "type": "OrderPaymentCreated",
        "source": "billing",
        "subject": order_id,
        "correlationid": order_id,
        "datacontenttype": "application/json",
        "data": {"order_id": order_id, "user_id": order_id, "payment_id": order_id},
    }

    def total(notices: list[Notice]) -> int:
        found = [each.body["dead_letters"] if each.kind == "snapshot" else each.body for each in notices]
        listed = [each for each in found if "total" in each]
        return int(listed[-1]["total"]) if listed else 0

    state, chosen = RunningState(shop.ports, shop.tokens), Filter((order_id,))
    with LiveClient(shop.monitor_url) as live_client:
        before = total(live_client.until(lambda notices: bool(notices), "the snapshot"))
        httpx.post(
            f"http://127.0.0.1:{shop.sidecars.port('billing')}/v1.0/publish/pubsub/OrderPaymentCreated",
            content=json.dumps(event),
            headers={
                "dapr-api-token": shop.tokens[sidecar_of("billing")],
                "content-type": "application/cloudevents+json",
            },
            trust_env=False,
        ).raise_for_status()
        live_client.until(lambda notices: total(notices) > before, "the dead letter")
    return next(find_dead_letters(state, chosen)).id


def test_the_page_acts_for_the_caller_whom_a_form_names(acting_page: System) -> None:
    """A user registers, gets money, orders and is read. The reader sends no token of a caller."""
    user = send(acting_page, "/api/user/register", {"email": new_address(), "name": "Ann"})
    user_id = user.json()["user_id"]
    money = send(acting_page, "/api/account/deposit", {"user_id": user_id, "amount_cents": DEPOSIT_CENTS})
    orders = [
        send(acting_page, "/api/order/create", {"user_id": user_id, "items": [item]}).json() for item in (TEA, YACHT)
    ]

    with admitted(acting_page.monitor_url) as client:

        def statuses() -> list[str]:
            return [client.get(f"/api/order/{each['order_id']}").json()["status"] for each in orders]

        acting_page.deadline.until(lambda: statuses() == ["paid", "not_paid"], SECONDS, lambda: str(statuses()))
        balance = client.get(f"/api/account/{user_id}").json()["balance_cents"]

    assert (201, 201) == (user.status_code, money.status_code)
    assert DEPOSIT_CENTS - TEA_CENTS == balance


def test_the_key_of_an_acting_page_replays_a_dead_letter(acting_page: System) -> None:
    """The page asks for no token, because it acts for every caller anyway."""
    letter_id = dead_letter(acting_page)
    with admitted(acting_page.monitor_url) as client:
        page = client.get("/page").json()

    assert not page["asks_token"]
    assert [command.path for command in SHOP.commands] == [each["path"] for each in page["forms"]]
    replayed = send(acting_page, f"/dead-letters/order/{letter_id}/replay")
    assert 200 == replayed.status_code
    assert "failed again" == replayed.json()["outcome"]  # its cause remains


def test_the_forms_are_off_with_another_issuer(closed_page: System) -> None:
    """The page says why. It still shows the events and their document."""
    with admitted(closed_page.monitor_url) as client:
        page = client.get("/page").json()
        document = client.get("/api/asyncapi.json")

    assert [[], [], []] == [page[name] for name in ("forms", "queries", "panels")]
    assert (NO_FORMS, True) == (page["problem"], page["asks_token"])
    assert 200 == document.status_code


def test_no_call_is_forwarded_with_another_issuer(closed_page: System, issuer: OtherIssuer) -> None:
    """The page has no token to send, and forwards no token of its viewer. The gateway answers a
    caller with a token of that issuer.
    """
    body = {"email": new_address(), "name": "Ann"}
    bearer = issuer.bearer(body["email"])
    with admitted(closed_page.monitor_url) as client:
        answers = [
            client.get(f"/api/user/{uuid.uuid4()}"),
            send(closed_page, "/api/user/register", body),
            send(closed_page, "/api/user/register", body, **bearer),
        ]
    direct = httpx.post(f"{closed_page.url}/user/register", json=body, headers=bearer, trust_env=False, timeout=SECONDS)

    assert [(403, NO_TOKENS)] * 3 == [(answer.status_code, answer.json()["detail"]) for answer in answers]
    assert 201 == direct.status_code


def test_with_another_issuer_only_its_operator_sees_a_dead_letter(closed_page: System, issuer: OtherIssuer) -> None:
    """The key of the page shows the number of dead letters, and no event."""
    letter_id = dead_letter(closed_page)
    path, boss = "/operator/dead-letters", issuer.bearer("boss@example.com", roles=(OPERATOR,))
    with admitted(closed_page.monitor_url) as client:
        refused = [client.get(path, headers=each).status_code for each in ({}, issuer.bearer("ann@example.com"))]
        shown = client.get(path, headers=boss)
        named = client.get("/operator/me", headers=boss).json()
    with LiveClient(closed_page.monitor_url) as viewer:
        notices = viewer.until(lambda notices: bool(notices), "the snapshot")

    assert [401, 403] == refused
    assert letter_id in {each["id"] for each in shown.json()["newest"]}
    assert {"who": "boss@example.com", "via": "page"} == named
    assert {"total", "changes"} == set(notices[0].body["dead_letters"])


def test_with_another_issuer_only_its_operator_replays_a_dead_letter(closed_page: System, issuer: OtherIssuer) -> None:
    """Neither the key of the page, nor a user's token, nor an operator of the local issuer does."""
    letter_id = dead_letter(closed_page)
    local = tokens.token(keys.load(closed_page.issuer_folder), "boss@example.com", roles=(OPERATOR,))

    def replay(**headers: str) -> int:
        return send(closed_page, f"/dead-letters/order/{letter_id}/replay", **headers).status_code

    assert 401 == replay()
    assert 401 == replay(authorization=f"Bearer {local}")
    assert 403 == replay(**issuer.bearer("ann@example.com"))
    assert 200 == replay(**issuer.bearer("boss@example.com", roles=(OPERATOR,)))
