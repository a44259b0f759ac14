"""`sidecart doctor`: read files, apply rules, query running processes, print the findings."""

import argparse
import os
from pathlib import Path

from sidecart.doctor import report, running, targets
from sidecart.doctor.findings import Finding, Severity, by_severity
from sidecart.doctor.rules import judge
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.registry import BROKERS, STORES


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart doctor`."""
    parser.description = (
        "Find configuration in YAML, the environment and running sidecars that can lose events, slow the system down "
        "or prevent startup. Each finding names file, line and fix."
    )
    parser.epilog = (
        "The exit code is 1 for a danger (lost events, a failed start), and 0 if there is only advice. In a file, "
        "`# doctor: publish-only` or `# doctor: read-only` states how a component is used, and `# doctor: ignore "
        "RULE: the reason` silences a rule. --sidecar sends DAPR_API_TOKEN."
    )
    _add_files(parser)
    _add_running(parser)
    parser.add_argument("--json", action="store_true", help="print each finding as one line of JSON")
    parser.set_defaults(command=run)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="folders and files that one sidecar reads, as with --resources-path; the doctor follows Multi-App Run "
        "files and compose files (default: this project on every broker and store, and the running system)",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="check each file and folder in PATH separately, as if a sidecar read nothing else",
    )
    parser.add_argument(
        "--broker", choices=[*BROKERS, "all"], default="all", help="without PATH: check this broker only"
    )
    parser.add_argument("--store", choices=[*STORES, "all"], default="all", help="without PATH: check this store only")
    parser.add_argument(
        "--env-file",
        dest="env_files",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file of NAME=value lines to add to the environment of the sidecars in PATH",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sidecar",
        dest="sidecars",
        action="append",
        default=[],
        metavar="URL",
        help="also query this sidecar (http://127.0.0.1:3500)",
    )
    parser.add_argument(
        "--redis", action="append", default=[], metavar="HOST:PORT", help="also inspect the keys on this server"
    )
    parser.add_argument("--files-only", action="store_true", help="do not query the running system")


def run(options: argparse.Namespace) -> int:
    """Print the findings; return 1 if any finding is a danger, else 0."""
    try:
        configs = _configs(options)
        found = [one for config in configs for one in judge(config)]
    except OSError as error:
        raise LaunchError(f"{error.filename} cannot be read: {error.strerror}") from error
    sources, running_findings = _running(options)
    findings = by_severity(found + running_findings)
    output = report.as_json(findings) if options.json else report.human(findings, targets.inspected(configs), sources)
    for line in output:
        print(line)
    return 1 if any(one.severity is Severity.DANGER for one in findings) else 0


def project() -> list[Finding]:
    """The findings in the project's own files, for every broker combined with every store."""
    return by_severity([one for config in targets.own() for one in judge(config)])


def _configs(options: argparse.Namespace) -> list[SidecarConfig]:
    if not options.paths:
        brokers = list(BROKERS) if options.broker == "all" else [options.broker]
        stores = list(STORES) if options.store == "all" else [options.store]
        return targets.own(brokers, stores)
    environment = targets.environment(options.env_files)
    return (targets.each_apart if options.each else targets.named)(options.paths, environment)


def _running(options: argparse.Namespace) -> tuple[str, list[Finding]]:
    """A phrase that names the queried processes, and the findings about them."""
    running_findings: list[Finding] = []
    sources = []
    for address in options.sidecars:
        running_findings += running.sidecar(address, os.environ.get("DAPR_API_TOKEN", ""))
        sources.append(address)
    for address in options.redis:
        running_findings += running.redis(address)
        sources.append(address)
    started = None if options.paths or options.files_only else runfile.read()
    if started is not None and started.ready:
        running_findings += running.system(started)
        sources.append(f"the running system on {started.servers}")
    return f", {', '.join(sources)} queried" if sources else "", running_findings
