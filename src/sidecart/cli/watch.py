"""`sidecart status`, `logs` and `reset`: inspect the running shop, delete a stopped shop's data."""

import argparse
import os
import shutil
import time
from pathlib import Path

from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.shop import get
from sidecart.launcher.project import home
from sidecart.launcher.rotation import Follower, last_lines
from sidecart.launcher.topics import APPS
from sidecart.launcher.topology import metrics_of

LOOPBACK = "127.0.0.1"
FOLLOW_SECONDS = 0.3


def log_folder() -> Path:
    """Return the folder of the logs of the shop that `run` starts."""
    return home() / "logs"


def status(options: argparse.Namespace) -> int:
    """Print a table of the shop's processes. Return 0 if all are up and ready, else 1."""
    shop = runfile.read()
    if shop is None:
        print("no shop is running (start one: make run)")
        return 1
    if not shop.ready:
        print(f"a shop on {shop.broker} and {shop.store} is starting (launcher {shop.launcher})")
        return 1
    page = f", live page {shop.monitor_url}" if shop.monitor_url else ""
    print(f"broker {shop.broker}, store {shop.store}, shop {shop.url}, mails {shop.mail_url}{page}\n")
    print(f"{'process':24} {'pid':>8} {'port':>6}  state")
    states = [_state(shop, name, pid) for name, pid in shop.processes.items()]
    for (name, pid), state in zip(shop.processes.items(), states, strict=True):
        print(f"{name:24} {pid:8} {shop.ports.get(name, ''):>6}  {state}")
    metrics = [(name, shop.ports[metrics_of(name)]) for name in shop.processes if metrics_of(name) in shop.ports]
    print(f"\nmetrics (/metrics): {', '.join(f'{name} {LOOPBACK}:{port}' for name, port in metrics)}")
    return 0 if all(state in ("up", "ready") for state in states) else 1


def _state(shop: runfile.RunFile, name: str, pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    if name not in APPS:
        return "up"
    code, body = get(shop.ports[name], "/readyz", shop.tokens["APP_API_TOKEN"])
    return "ready" if code == 200 else f"not ready: {code or 'no answer'} {body}".rstrip()


def logs(options: argparse.Namespace) -> int:
    """Print the end of one log or of all logs, and new lines with -f."""
    folder = log_folder()
    files = sorted(folder.glob("*.log")) if options.name is None else [folder / f"{options.name}.log"]
    files = [file for file in files if file.exists()]
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise LaunchError(f"no such log in {folder}; available: {known}")
    width = max(len(file.stem) for file in files)
    width = width if len(files) > 1 else 0
    followers = [Follower(file, file.stat().st_size) for file in files]
    for file in files:
        _print_lines(file, last_lines(file, options.lines), width)
    try:
        while options.follow:
            time.sleep(FOLLOW_SECONDS)
            for each in followers:
                _print_lines(each.log, each.read().decode(errors="replace").splitlines(), width)
    except KeyboardInterrupt:
        pass
    return 0


def _print_lines(file: Path, lines: list[str], width: int) -> None:
    for line in lines:
        print(f"{file.stem:{width}} | {line}" if width else line, flush=True)


def reset(options: argparse.Namespace) -> int:
    """Delete the data and logs of the shop that `run` starts; refuse while it runs."""
    if runfile.is_locked():
        raise LaunchError("a shop is running: stop it with ./sidecart stop first")
    for folder in (home() / "data", home() / "logs", home() / "run"):
        shutil.rmtree(folder, ignore_errors=True)
    print("data and logs are deleted")
    return 0
