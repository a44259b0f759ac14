"""`sidecart status`: a table of the running shop's processes."""

import argparse
import os

from sidecart.launcher import runfile
from sidecart.launcher.local_http import get
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import metrics_of

LOOPBACK = "127.0.0.1"


def add(parser: argparse.ArgumentParser) -> None:
    """Make this the parser of `sidecart status`."""
    parser.set_defaults(command=status)


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
    if name not in app_ids():
        return "up"
    code, body = get(shop.ports[name], "/readyz", shop.tokens["APP_API_TOKEN"])
    return "ready" if code == 200 else f"not ready: {code or 'no answer'} {body}".rstrip()
