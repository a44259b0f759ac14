"""`sidecart doctor`: read files, apply rules, query running processes, print the findings."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from sidecart.doctor import report, running, targets
from sidecart.doctor.cluster import findings as findings_of
from sidecart.doctor.findings import Finding, Severity, by_severity
from sidecart.doctor.rules import judge
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.kubernetes import kubectl
from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.registry import BROKERS, STORES

PATH = click.Path(path_type=Path, readable=False)
"""A path of any kind: the doctor itself reports a missing or unreadable one."""


@click.command(
    "doctor",
    epilog="The exit code is 1 for a danger (lost events, a failed start), and 0 if there is only advice. In a file, "
    "`# doctor: publish-only` or `# doctor: read-only` states how a component is used, and `# doctor: ignore "
    "RULE: the reason` silences a rule. --sidecar sends DAPR_API_TOKEN.",
)
@click.argument(
    "paths",
    nargs=-1,
    type=PATH,
    metavar="[PATH]...",
    help="folders and files that one sidecar reads, as with --resources-path; the doctor follows Multi-App Run "
    "files and compose files (default: this project on every broker and store, and the running system)",
)
@click.option(
    "--each", is_flag=True, help="check each file and folder in PATH separately, as if a sidecar read nothing else"
)
@click.option(
    "--broker", type=click.Choice([*BROKERS, "all"]), default="all", help="without PATH: check this broker only"
)
@click.option("--store", type=click.Choice([*STORES, "all"]), default="all", help="without PATH: check this store only")
@click.option(
    "--env-file",
    "env_files",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="a file of NAME=value lines to add to the environment of the sidecars in PATH; repeatable",
)
@click.option(
    "--sidecar",
    "sidecars",
    multiple=True,
    metavar="URL",
    help="also query this sidecar (http://127.0.0.1:3500); repeatable",
)
@click.option("--redis", multiple=True, metavar="HOST:PORT", help="also inspect the keys on this server; repeatable")
@click.option("--files-only", is_flag=True, help="do not query the running system")
@click.option(
    "--kubernetes",
    "context",
    metavar="CONTEXT",
    help="also check the cluster of this context of the kubeconfig, instead of the running system; `current` is the "
    "current one",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="print each finding as one JSON object with `rule`, `severity`, `file`, `line`, `what` and `fix`",
)
def command(
    paths: tuple[Path, ...],
    each: bool,
    broker: str,
    store: str,
    env_files: tuple[Path, ...],
    sidecars: tuple[str, ...],
    redis: tuple[str, ...],
    files_only: bool,
    context: str | None,
    as_json: bool,
) -> int:
    """Find configuration that can lose events, slow the system down or prevent startup.

    The doctor reads YAML, the environment and running sidecars. Each finding names file, line and
    fix.
    """
    try:
        configs = _given(paths, env_files, each) if paths else _own(broker, store)
        found = [one for config in configs for one in judge(config)]
    except OSError as error:
        raise LaunchError(f"{error.filename} cannot be read: {error.strerror}") from error
    started = None if paths or files_only or context is not None else runfile.read()
    sources, running_findings = _running(sidecars, redis, started)
    if context is not None:
        cluster = kubectl.find(context)
        running_findings += findings_of(cluster)
        sources += f", the cluster {cluster.context} queried"
    findings = by_severity(found + running_findings)
    output = report.as_json(findings) if as_json else report.human(findings, targets.inspected(configs), sources)
    for line in output:
        print(line)
    return 1 if any(one.severity is Severity.DANGER for one in findings) else 0


def project() -> list[Finding]:
    """The findings in the project's own files, for every broker combined with every store."""
    return by_severity([one for config in targets.own() for one in judge(config)])


def _own(broker: str, store: str) -> list[SidecarConfig]:
    """The configurations of the project on one broker or all, and on one store or all."""
    return targets.own(list(BROKERS) if broker == "all" else [broker], list(STORES) if store == "all" else [store])


def _given(paths: Sequence[Path], env_files: Sequence[Path], each: bool) -> list[SidecarConfig]:
    """The configurations of the named paths, together or each on its own."""
    return (targets.each_apart if each else targets.named)(paths, targets.environment(env_files))


def _running(
    sidecars: Sequence[str], servers: Sequence[str], started: runfile.RunFile | None
) -> tuple[str, list[Finding]]:
    """A phrase that names the queried processes, and the findings about them."""
    running_findings: list[Finding] = []
    sources = []
    for address in sidecars:
        running_findings += running.sidecar(address, os.environ.get("DAPR_API_TOKEN", ""))
        sources.append(address)
    for address in servers:
        running_findings += running.redis(address)
        sources.append(address)
    if started is not None and started.ready:
        running_findings += running.system(started)
        sources.append(f"the running system on {started.servers}")
    return f", {', '.join(sources)} queried" if sources else "", running_findings
