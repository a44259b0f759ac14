"""The commands of the guides export, erase, and remove the address from the files.

The commands run exactly as written, in one shell. Only ports change.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from sidecart.launcher.streams import RETENTION
from tests.full.documentation import blocks, documented
from tests.full.project_copy import Running, running

GUIDE = root() / "docs" / "how-to" / "personal-data.md"
REWRITE = "./sidecart rewrite-files --search"
STARTS = ("make run", "make run BROKER=rabbitmq STORE=postgres")
ADDRESS = "ann@example.com"
RETENTION_SECONDS = 10
GONE_SECONDS = 120
GET_MONEY = (
    'curl -s 127.0.0.1:8000/account/deposit -H "authorization: Bearer '
    '$(./sidecart token provider@example.com --scope deposits)" -H "content-type: application/json" '
    '-d \'{"user_id": "\'$USER_ID\'", "amount_cents": 900}\''
)
ORDER = (
    'curl -s 127.0.0.1:8000/order/create -H "$ANN" -H "content-type: application/json" '
    '-d \'{"items": [{"sku": "tea", "quantity": 2, "unit_price_cents": 450}]}\''
)


def guide() -> list[str]:
    """Return the blocks of the guide: a token and the id, export, erasure, and an operator's."""
    return list(blocks(GUIDE.read_text("utf-8")))


def shell(shop: Running, *parts: str) -> list[str]:
    """Run parts of a script in one shell, and return what each of them printed."""
    mark = "--- end of a part"
    script = f"\necho; echo '{mark}'\n".join(parts).replace("127.0.0.1:8000", f"127.0.0.1:{shop.port}")
    done = shop.run("bash", "-c", script)
    assert "" == done.stderr, done
    return [part.strip() for part in done.stdout.split(mark)]


def search(shop: Running) -> subprocess.CompletedProcess[str]:
    """Remove the bytes from the files, and search for the address."""
    words = ["bash", "-c", documented(REWRITE)]
    return subprocess.run(words, cwd=shop.folder, input=f"{ADDRESS}\n", capture_output=True, text=True, check=False)


@pytest.fixture(params=STARTS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Start a shop that keeps acknowledged events for seconds."""
    monkeypatch.setenv(RETENTION, str(RETENTION_SECONDS))
    with running(tmp_path, documented(request.param)) as started:
        yield started


def test_the_guides_export_and_erase(shop: Running) -> None:
    """At the end, no place has the address; the mail catcher's file has it until it is emptied."""
    begin, export, erase, operator = guide()
    mails = json.loads(shop.run("./sidecart", "status", "--json").stdout)["mail_url"]

    sent = f"timeout {GONE_SECONDS} sh -c 'until curl -s {mails}/mails | grep -q {ADDRESS}; do sleep 0.2; done'"

    *_, exported, erased, by_operator = shell(shop, begin, GET_MONEY, ORDER, sent, export, erase, operator)
    again = re.findall(r"\{.*?\}(?=\{|$)", by_operator)
    found = list[subprocess.CompletedProcess[str]]()

    def is_gone() -> bool:
        found[:] = [search(shop)]
        return 0 == found[0].returncode

    Deadline().until(is_gone, GONE_SECONDS, lambda: f"{found}", 1)
    httpx.delete(f"{mails}/mails", trust_env=False).raise_for_status()
    emptied = search(shop)

    assert ADDRESS == json.loads(exported)["user"]["email"]
    assert "erased" == json.loads(erased)["status"]
    assert [404, "erased"] == [json.loads(again[0])["status"], json.loads(again[1])["status"]], by_operator
    assert re.search(r"^1 places have the text$", found[0].stdout, re.MULTILINE), found
    assert re.search(r"^still in: file .*/mails\.jsonl$", found[0].stdout, re.MULTILINE), found
    assert ADDRESS not in f"{found}"
    assert (0, "0 places have the text") == (emptied.returncode, emptied.stdout.splitlines()[-1]), emptied
