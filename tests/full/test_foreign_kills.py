"""A service in another language is killed 20 times under load, and no registration is lost or
duplicated.
"""

import asyncio
import json
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from shop.acting import acting
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS
from sidecart.testkit.tap import Tap
from tests.e2e.shopper import Shopper

FOREIGN = root() / "examples" / "user-node"
KILLS = 20
CALLERS = 16
BETWEEN_KILLS = 25  # responses between two kills; registrations are in progress at every kill
SECONDS_MAX = 60.0


@dataclass(slots=True)
class Ledger:
    """The requests, written before they are sent, and the last response to each."""

    requests: dict[str, dict[str, str]] = field(default_factory=dict)  # by Idempotency-Key
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


async def register(http: httpx.AsyncClient, ledger: Ledger) -> None:
    """Register a user; repeat the call with its key until it returns 201."""
    key = uuid.uuid4().hex
    ledger.requests[key] = {"email": f"{key}@example.com", "name": f"Nr {key[:4]}"}
    while True:
        answer = await http.post(
            "/user/register", json=ledger.requests[key], headers={"idempotency-key": key, "prefer": "wait=2"}
        )
        ledger.answers[key] = answer
        ledger.statuses[answer.status_code] += 1
        ledger.answered.set()
        if answer.status_code == 201:
            return
        assert answer.status_code in (202, 503), answer.text


async def send_all(shop: System) -> Ledger:
    """Keep the callers busy until the service was killed KILLS times, then let all registrations
    end.
    """
    ledger, killed = Ledger(), False

    async def caller(http: httpx.AsyncClient) -> None:
        while not killed:
            await register(http, ledger)

    tokens = acting(shop.issuer_folder)
    async with httpx.AsyncClient(base_url=shop.url, timeout=SECONDS_MAX, trust_env=False, auth=tokens) as http:
        callers = [asyncio.create_task(caller(http)) for _ in range(CALLERS)]
        for number in range(1, KILLS + 1):
            while sum(ledger.statuses.values()) < number * BETWEEN_KILLS:
                ledger.answered.clear()
                async with asyncio.timeout(SECONDS_MAX):
                    await ledger.answered.wait()
            shop.kill("user")
            shop.start_app("user")
        killed = True
        await asyncio.gather(*callers)
    return ledger


@pytest.mark.parametrize("broker", BROKERS)
def test_20_kills_neither_lose_nor_duplicate_a_registration(tmp_path: Path, broker: str) -> None:
    """Every registration ends with 201, is stored, and is announced under one id, without a dead
    letter.
    """
    options = Options(broker, folder=tmp_path / "shop", replaced={"user": FOREIGN})
    with System(options, print) as shop, Tap(shop) as tap, Shopper(shop, tap) as shopper:
        ledger = asyncio.run(send_all(shop))
        shop.wait_ready("user")
        users = {key: answer.json() for key, answer in ledger.answers.items()}
        for user in users.values():
            assert user == shopper.get(f"/user/{user['user_id']}")
            shopper.event("BillingAccountCreated", user["user_id"])
        created = [one.event for one in tap.seen if one.topic == "UserCreated"]
        address = users[next(iter(users))]["email"]
        body = {"email": address, "name": "Eve"}
        again = shopper.http.post("/user/register", json=body, headers=shopper.as_another(address))

        assert {201} == {answer.status_code for answer in ledger.answers.values()}
        assert users == {key: each | {"user_id": users[key]["user_id"]} for key, each in ledger.requests.items()}
        assert {json.dumps(event["data"], sort_keys=True) for event in created} == {
            json.dumps(user, sort_keys=True) for user in users.values()
        }
        assert len(users) == len({event["id"] for event in created})
        assert 409 == again.status_code
        assert 204 == shopper.state("user", "dead-index:0").status_code
    print(
        f"{broker}: {len(users)} registered, {KILLS} kills, answers {dict(ledger.statuses)}, {len(created)} UserCreated"
    )
