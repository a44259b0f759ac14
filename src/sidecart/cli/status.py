"""`sidecart status`: a table of the running system's processes."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap

import click

from sidecart.cli.arguments import kubernetes_option
from sidecart.cli.status_progress import progress
from sidecart.launcher import runfile
from sidecart.launcher.local_http import get
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import app_of, metrics_of

LOOPBACK = "127.0.0.1"
LINE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the running system. A port is None if the process does not listen on one."""

    name: str
    pid: int
    port: int | None
    metrics_port: int | None
    state: str

    @property
    def is_healthy(self) -> bool:
        """Whether the process is up, and if it is an app also ready."""
        return self.state in ("up", "ready")


@click.command("status")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="print one JSON object: `state` (stopped, starting or running), the addresses and servers, and `processes` "
    "with `name`, `pid`, `port`, `metrics_port` and `state`. `warnings` are about the servers. `progress` has the lag "
    "of `consumers`, the events that are `kept`, `trimmed_at`, and the `stuck` flows. On a cluster: `workloads` with "
    "their `pods`, what the `gateway` says, and the `waiting` events",
)
@kubernetes_option
def command(as_json: bool, context: str | None) -> int:
    """Show the processes of the running system.

    The exit code is 1 if no system runs, or if a process is not up and ready.
    """
    if context is not None:
        from sidecart.cli import cluster_status  # other systems need no kubectl

        return cluster_status.show(context, as_json)
    system = runfile.read()
    processes = _processes(system)
    if as_json:
        print(_as_json(system, processes))
    elif system is None:
        print("no system is running (start one: make run)")
    elif not system.ready:
        print(f"a system on {system.servers} is starting (launcher {system.launcher})")
    else:
        _print_table(system, processes)
    return 0 if processes and all(each.is_healthy for each in processes) else 1


def _print_table(system: runfile.RunFile, processes: Sequence[Process]) -> None:
    print(f"{_summary(system)}\n")
    print(f"{'process':24} {'pid':>8} {'port':>6}  state")
    for each in processes:
        print(f"{each.name:24} {each.pid:8} {each.port or '':>6}  {each.state}")
    metrics = [f"{each.name} {each.metrics_port}" for each in processes if each.metrics_port is not None]
    listed = f"metrics (http://{LOOPBACK}:PORT/metrics): {', '.join(metrics)}"
    print("", *wrap(listed, LINE_WIDTH, subsequent_indent="  ", break_on_hyphens=False), sep="\n")
    for line in progress(system).lines():
        print(line)
    for warning in _warnings(system):
        print(f"warning: {warning}")


def _warnings(system: runfile.RunFile) -> list[str]:
    """Return what will soon keep a server from taking writes."""
    servers = {each.env: each for each in (*BROKERS.values(), *STORES.values())}
    found = (servers[env].warning(address) for env, address in system.addresses.items())
    return [each for each in found if each is not None]


def _as_json(system: runfile.RunFile | None, processes: Sequence[Process]) -> str:
    if system is None:
        return json.dumps({"state": "stopped", "processes": []})
    return json.dumps(
        {
            "state": "running" if system.ready else "starting",
            "launcher": system.launcher,
            "url": system.url or None,
            "broker": None if system.components else system.broker,
            "store": None if system.components else system.store,
            "components": system.components or None,
            "mail_url": system.mail_url or None,
            "monitor_url": system.monitor_url or None,
            "processes": [asdict(each) for each in processes],
            "warnings": _warnings(system),
            "progress": progress(system).as_object() if system.ready else None,
        }
    )


def _summary(system: runfile.RunFile) -> str:
    servers = (
        f"components {system.components}" if system.components else f"broker {system.broker}, store {system.store}"
    )
    mails = f", mails {system.mail_url}" if system.mail_url else ""
    page = f", live page {system.monitor_url}" if system.monitor_url else ""
    return f"{servers}, gateway {system.url}{mails}{page}"


def _processes(system: runfile.RunFile | None) -> list[Process]:
    """Return the processes; none before the system is ready."""
    if system is None or not system.ready:
        return []
    return [
        Process(name, pid, system.ports.get(name), system.ports.get(metrics_of(name)), _state(system, name, pid))
        for name, pid in system.processes.items()
    ]


def _state(system: runfile.RunFile, name: str, pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    if app_of(name) not in app_ids():
        return "up"
    code, body = get(system.ports[name], "/readyz", system.tokens[name])
    return "ready" if code == 200 else f"not ready: {code or 'no answer'} {body}".rstrip()
