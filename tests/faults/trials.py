"""The trials of the shop: its load and its processes, for each kind of fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from gateway.commands import COMMANDS
from shop.audit import ShopBookkeeping
from sidecart.chassis.settings import SIDECAR_API, sidecar_api
from sidecart.testkit.faults.load import Plan, Requests
from sidecart.testkit.faults.schedule import FULL, SHORT
from sidecart.testkit.faults.trial import Trial, with_faults
from tests.faults.requests import ShopRequests

FULL_REQUESTS, SHORT_REQUESTS = 2_100, 440
PER_SECOND = 8.5
CLIENTS, CLIENT_SECONDS, SHORT_CLIENT_SECONDS = 16, 60.0, 20.0
# enough money for most orders, so that a lost event shows in a balance
MORE_MONEY = partial(ShopRequests, order_share=0.7, deposit_share=0.25)
# several processes, so that ETags protect the account and not the locks of one process
REPLICAS = {"billing": 2}
SETTINGS = {
    # seconds instead of an hour: the auditor waits minutes only, and allows a second mail that a
    # fault explains
    "MAIL_UNKNOWN_SECONDS": "5",
    # the auditor expects the mail of each order within minutes
    "MAILS_PER_HOUR": "0",
}


def api_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the setting of the API of the sidecars, if the environment selects it."""
    return {SIDECAR_API: sidecar_api(environ)} if environ.get(SIDECAR_API) else {}


def trial_of(broker: str, store: str, seed: int, short: bool, kind: str = "kills", gateways: int = 1) -> Trial:
    """Return the full trial of one kind of fault, or the short one of up to 90 seconds."""
    requests: Callable[[], Requests]
    if kind == "kills":
        plan, requests = Plan(seed, SHORT_REQUESTS if short else FULL_REQUESTS, PER_SECOND), ShopRequests
    else:
        seconds = SHORT_CLIENT_SECONDS if short else CLIENT_SECONDS
        plan, requests = Plan(seed, 0, 0.0, clients=CLIENTS, seconds=seconds), MORE_MONEY
    trial = Trial(
        broker,
        store,
        seed,
        SHORT if short else FULL,
        plan,
        requests,
        COMMANDS,
        ShopBookkeeping,
        kind=kind,
        replicas=REPLICAS,
        gateways=gateways,
        env=SETTINGS | api_of(os.environ),
    )
    return with_faults(trial)
