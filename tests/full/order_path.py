"""Counts the modules that one order passes, and their lines, until its 201 and until its email.

    .venv/bin/python -m tests.full.order_path

Each app runs under a tracer. A module counts if one of its functions runs during the order; all of
its physical lines count. The script traces several orders in sequence. Only modules that every one
of them passes count, so timers do not. Until the 201, only those of the gateway and of the Order
Service count.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
ORDERS = 30  # other services may work before the answer is read; what some order lacks does not count
PRODUCT = ("gateway", "services", "src")
ANSWERING = ("gateway", "order")
"""The apps that an answer needs; on a busy machine the others work before it is read."""
FOLDER = "ORDER_PATH_FOLDER"
STEPS_SECONDS = 30.0


def trace(app_id: str) -> None:
    """Run an app: SIGUSR1 begins to trace; SIGUSR2 writes the files of the called functions."""
    folder = Path(os.environ[FOLDER])
    seen: set[str] = set()
    turn = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(frame.f_code.co_filename)

    def begin(*_: Any) -> None:
        seen.clear()
        sys.setprofile(called)
        threading.setprofile(called)
        answer("begun")

    def report(*_: Any) -> None:
        answer(json.dumps(sorted(seen)))

    def answer(text: str) -> None:
        nonlocal turn
        turn += 1
        made = folder / f"{app_id}-{turn}.tmp"
        made.write_text(text, encoding="utf-8")
        made.rename(folder / f"{app_id}-{turn}")

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, report)
    from sidecart.launcher.apps import module_of

    importlib.import_module(module_of(app_id)).main()


class Traced:
    """The traced apps of one shop."""

    def __init__(self, folder: Path, pids: dict[str, int]) -> None:
        self._folder = folder
        self._pids = pids
        self._turns = dict.fromkeys(pids, 0)

    def begin(self) -> None:
        """Forget what was seen."""
        self._ask(signal.SIGUSR1)

    def files(self, *app_ids: str) -> set[str]:
        """The project's files whose functions these apps called since the beginning; no name for
        all apps.
        """
        texts = self._ask(signal.SIGUSR2)
        found = {file for app_id in app_ids or texts for file in json.loads(texts[app_id])}
        inside = (Path(file) for file in found if not file.startswith("<"))
        return {
            str(file.relative_to(ROOT))
            for file in inside
            if file.is_relative_to(ROOT) and file.parts[len(ROOT.parts)] in PRODUCT
        }

    def _ask(self, number: signal.Signals) -> dict[str, str]:
        for app_id, pid in self._pids.items():
            os.kill(pid, number)
            self._turns[app_id] += 1
        texts = {}
        for app_id, turn in self._turns.items():
            path, end = self._folder / f"{app_id}-{turn}", time.monotonic() + STEPS_SECONDS
            while not path.exists():
                assert time.monotonic() < end, f"{app_id} does not report"
                time.sleep(0.01)
            texts[app_id] = path.read_text(encoding="utf-8")
        return texts


def measure(report: Callable[[str], None]) -> dict[str, set[str]]:
    """Return the files until the 201 and until the email."""
    import httpx

    from shop.acting import acting
    from sidecart.launcher.apps import write_program
    from sidecart.launcher.lifecycle.system import Options, System
    from sidecart.launcher.topics import app_ids

    with tempfile.TemporaryDirectory(prefix="order-path-") as name:
        folder = Path(name)
        os.environ[FOLDER] = name
        command = [sys.executable, str(Path(__file__).resolve())]
        programs = {each: write_program(folder / "programs" / each, each, [*command, each]) for each in app_ids()}
        options = Options(
            "redis",
            folder=folder / "shop",
            replaced=programs,
            env={FOLDER: name, "PYTHONPATH": PYTHONPATH, "MAILS_PER_HOUR": "0"},
        )
        with (
            System(options, report) as shop,
            httpx.Client(base_url=shop.url, timeout=30, trust_env=False, auth=acting(shop.issuer_folder)) as http,
        ):
            traced = Traced(folder, {each: shop.processes[each] for each in app_ids()})

            def mails() -> int:
                return len(httpx.get(f"{shop.mail_url}/mails", trust_env=False).json())

            body = {"email": "ann@example.com", "name": "Ann"}
            user_id = http.post("/user/register", json=body).raise_for_status().json()["user_id"]
            http.post("/account/deposit", json={"user_id": user_id, "amount_cents": 100_000}).raise_for_status()
            item = {"sku": "tea", "quantity": 1, "unit_price_cents": 450}
            found: dict[str, list[set[str]]] = {"201": [], "email": []}
            for number in range(ORDERS + 1):  # the first one warms up
                before = mails()
                traced.begin()
                answer = http.post("/order/create", json={"user_id": user_id, "items": [item]})
                assert answer.status_code == 201, answer.text
                until_answer = traced.files(*ANSWERING)
                end = time.monotonic() + STEPS_SECONDS
                while mails() == before:
                    assert time.monotonic() < end, "no email"
                    time.sleep(0.05)
                until_mail = traced.files()
                if number:
                    found["201"].append(until_answer)
                    found["email"].append(until_mail)
    return {until: set.intersection(*each) for until, each in found.items()}


def lines(files: set[str]) -> int:
    """The physical lines of these files."""
    return sum(len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> None:
    """Trace one app if one is named; otherwise measure and print."""
    if len(sys.argv) == 2:
        trace(sys.argv[1])
        return
    for until, files in measure(lambda text: None).items():
        print(f"until the {until}: {len(files)} modules, {lines(files)} lines")
        for file in sorted(files):
            print(f"    {file} {lines({file})}")


if __name__ == "__main__":
    main()
