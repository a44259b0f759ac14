"""`sidecart status`: a table of the running system's processes."""

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
    """Print a table of the system's processes. Return 0 if all are up and ready, else 1."""
    system = runfile.read()
    if system is None:
        print("no system is running (start one: make run)")
        return 1
    if not system.ready:
        print(f"a system on {system.servers} is starting (launcher {system.launcher})")
        return 1
    print(f"{_summary(system)}\n")
    print(f"{'process':24} {'pid':>8} {'port':>6}  state")
    states = [_state(system, name, pid) for name, pid in system.processes.items()]
    for (name, pid), state in zip(system.processes.items(), states, strict=True):
        print(f"{name:24} {pid:8} {system.ports.get(name, ''):>6}  {state}")
    metrics = [(name, system.ports[metrics_of(name)]) for name in system.processes if metrics_of(name) in system.ports]
    print(f"\nmetrics (/metrics): {', '.join(f'{name} {LOOPBACK}:{port}' for name, port in metrics)}")
    return 0 if all(state in ("up", "ready") for state in states) else 1


def _summary(system: runfile.RunFile) -> str:
    servers = (
        f"components {system.components}" if system.components else f"broker {system.broker}, store {system.store}"
    )
    mails = f", mails {system.mail_url}" if system.mail_url else ""
    page = f", live page {system.monitor_url}" if system.monitor_url else ""
    return f"{servers}, gateway {system.url}{mails}{page}"


def _state(system: runfile.RunFile, name: str, pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    if name not in app_ids():
        return "up"
    code, body = get(system.ports[name], "/readyz", system.tokens["APP_API_TOKEN"])
    return "ready" if code == 200 else f"not ready: {code or 'no answer'} {body}".rstrip()
