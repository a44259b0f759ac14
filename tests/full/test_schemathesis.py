"""Twenty thousand requests generated from the OpenAPI document, with tokens and without: every
response is one that the document announces.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from shop.acting import acting
from sidecart.launcher.dead_letters import find_dead_letters
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.running_state import RunningState

REQUESTS_MIN = 20_000
EXAMPLES = 2_300  # per operation; together with the other phases more than REQUESTS_MIN
SECONDS_MAX = 2_400
CHECKS_LEFT_OUT = "positive_data_acceptance"
"""JSON Schema accepts 5.0 as an integer; the gateway rejects it, because amounts of money must
never be floats.
"""
ANN, EVE = "ann@example.com", "eve@example.com"  # those of schemathesis_hooks.py, which needs its environment
KINDS = ("none", "wrong", "another caller's", "an operator's", "the caller's own")
SERVED = ("another caller's", "an operator's", "the caller's own")
SHARE_MIN = 0.05
"""The share of the requests with each kind of token."""
CREATED_MIN = 200
"""Commands that succeeded, so the generated requests reach the services."""


def prepare(shop: System) -> str:
    """Register the callers of the hooks; return the id of an order of ANN."""
    with httpx.Client(base_url=shop.url, timeout=60, trust_env=False, auth=acting(shop.issuer_folder)) as http:
        ann, _ = (
            http.post("/user/register", json={"email": email, "name": "Ann"}).raise_for_status().json()["user_id"]
            for email in (ANN, EVE)
        )
        http.post("/account/deposit", json={"user_id": ann, "amount_cents": 10**11}).raise_for_status()
        body = {"user_id": ann, "items": [{"sku": "tea", "quantity": 1, "unit_price_cents": 450}]}
        return str(http.post("/order/create", json=body).raise_for_status().json()["order_id"])


def test_every_answer_is_one_that_the_openapi_document_announces(tmp_path: Path) -> None:
    """Without 5xx, undocumented status or media type, body outside its schema, or dead letter."""
    with System(Options("redis", folder=tmp_path / "shop"), print) as shop:
        own = {
            "SCHEMATHESIS_HOOKS": "tests.full.schemathesis_hooks",
            "PYTHONPATH": os.pathsep.join([str(root() / "src"), str(root())]),
            "ISSUER_FOLDER": str(shop.issuer_folder),
            "ORDER_ID": prepare(shop),
            "COUNTED": str(tmp_path / "counted.json"),
        }
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{shop.url}/openapi.json"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--workers", "2"),
                *("--exclude-checks", CHECKS_LEFT_OUT, "--suppress-health-check", "all"),
                *("--header", "Prefer: wait=30", "--seed", "1", "--continue-on-failure", "--no-color"),
            ],
            cwd=tmp_path,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        found = list(find_dead_letters(RunningState(shop.ports, shop.tokens)))

    generated = re.search(r"(\d+) generated", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert generated is not None
    counted: dict[str, int] = json.loads((tmp_path / "counted.json").read_text("utf-8"))
    print(f"schemathesis: {generated.group(1)} requests; by token and status: {counted}")
    assert int(generated.group(1)) >= REQUESTS_MIN
    assert [] == found
    by_token = {kind: sum(n for name, n in counted.items() if name.startswith(f"{kind}:")) for kind in KINDS}
    assert [] == [kind for kind, number in by_token.items() if number < SHARE_MIN * sum(by_token.values())]
    assert [] == [kind for kind in SERVED if f"{kind}: 201" not in counted and f"{kind}: 200" not in counted]
    assert counted["the caller's own: 201"] >= CREATED_MIN
