"""`sidecart test`, `test-full`, `test-compose` and `test-fast`: the suites of the tests."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from sidecart.chassis.settings import GRPC, HTTP, SIDECAR_API
from sidecart.cli.run import stopped_by_signals
from sidecart.launcher import proxy
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.kubernetes.cluster import programs

MANIFESTS = "tests/kubernetes/api"
FAST = ("tests/unit", "tests/contracts", "tests/simulation", MANIFESTS)
E2E = "tests/e2e"
FAULTS = "tests/faults"
FULL = "tests/full"
GENERATED = "tests/full/test_schemathesis.py"
"""The longest of the full tests, and the only one that is always busy.

It runs in parallel with tests that mostly wait.
"""
FAIRNESS = "tests/full/test_fairness.py"
"""It measures time, so `make attack` runs it with no other suite beside it."""
COMPOSE = "tests/compose"
SHORT_SIMULATION = "tests/simulation/test_simulation.py::test_nothing_is_lost_and_nothing_is_done_twice"
# PYTHONHASHSEED: each worker of pytest-xdist collects the tests, and all must find one sequence
QUICK_ENV = {"SEEDS": "20", "PYTHONHASHSEED": "0"}
SLOW_UNITS = ("bench", "chassis/server", "chassis/telemetry", "doctor", "launcher/servers", "lint")
"""The folders of tests/unit that start servers and processes, or check the tools of a developer."""
MAIL = "services/notification/mail"
QUICK = (
    *("-n", "logical", "--maxprocesses=8", "--dist=worksteal"),
    *(f"--ignore=tests/unit/{folder}" for folder in (*SLOW_UNITS, MAIL)),
    *("tests/unit", "tests/contracts", SHORT_SIMULATION),
)
"""The arguments of `make test-fast`; more workers would start longer than they work."""
NOT_COVERED = (
    "sidecars, brokers, stores, faults, containers, the live page in a browser, "
    f"and in tests/unit: {', '.join((*SLOW_UNITS, MAIL))}"
)
PROGRESS_SECONDS = 30.0
WAIT_SECONDS = 0.2
# seconds; pytest lists the slowest tests at the end
SLOWEST = ("--durations=10", "--durations-min=20")
SHOWN = ("-v", "--capture=tee-sys")
"""The arguments of a suite whose tests print what they measure. `-s` would print no progress."""
STORE_OF_BROKER = {"redis": "redis", "rabbitmq": "postgres"}
"""The pairs of `make test`.

`make test-full` runs the other two, with a service in another language.
"""
API_OF_STORE = {"redis": GRPC, "postgres": HTTP}
"""The API by which the apps of a pair call their sidecars: each broker and each store has both, and
the servers and the API of `make run` are a pair of `make test`.
"""
FOREIGN = "user=examples/user-node"
SHARED_SHOP = ("-m", "not own_shop")
"""The tests for a service in another language: all that do not start shops of their own."""
OWN_SHOPS = ("-m", "own_shop")
LONGEST = "rabbitmq"
"""Tests on this broker wait longest, so they run as two suites in parallel."""
BASELINE = ("-m", "not own_shop and not sidecars", E2E)
"""The tests for the shop without sidecars (bench/baseline)."""
FULL_PROGRAMS = ("podman", "buildah", "runc", "debootstrap", "node", "npm", "chromium", "prometheus", "javac")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one pytest run."""

    name: str
    code: int
    tests: int
    failed: int
    skipped: int
    seconds: float

    @property
    def is_green(self) -> bool:
        """Whether tests ran, and none failed or was skipped."""
        return self.code == 0 and self.failed == 0 and self.skipped == 0 and self.tests > 0


@click.command("test")
@click.option(
    "--broker",
    type=click.Choice([*BROKERS, "all"]),
    default="all",
    help="run the end-to-end tests on this broker only",
)
@click.option("--e2e-only", is_flag=True, help="skip the unit, contract and simulation tests")
def test(broker: str, e2e_only: bool) -> int:
    """Run the fast and the end-to-end tests in parallel, then a minute of faults on each broker.

    The exit code is 1 if a test failed or was skipped.
    """
    brokers = list(BROKERS) if broker == "all" else [broker]
    servers = {each: servers_of(each, STORE_OF_BROKER[each]) for each in brokers}
    for each in brokers:
        require(each)
    waiting = []
    for each, env in servers.items():
        if each == LONGEST:
            waiting.append(Suite(f"e2e on {_label(env)}", [*SHARED_SHOP, E2E], env))
            waiting.append(Suite(f"e2e on {_label(env)}, own shops", [*OWN_SHOPS, E2E], env))
        else:
            waiting.append(Suite(f"e2e on {_label(env)}", [E2E], env))
    if not e2e_only:
        # alone, because it takes minutes on a new machine, and other tests measure time
        _build_manifest_checkers()
        # busy on the CPU, while the end-to-end tests mostly wait
        waiting.insert(
            0, Suite("unit, contracts, simulation, manifests", [path for path in FAST if (root() / path).exists()], {})
        )
    faults = [Suite(f"faults on {_label(env)}", [FAULTS], env) for env in servers.values()]
    return report([*in_parallel(waiting), *in_parallel(faults)], brokers)


@click.command("test-full")
def test_full() -> int:
    """Run the slow tests.

    These are generated requests, the Node service, dapr.yaml, containers, the live page and a
    Kubernetes. The exit code is 1 if a test failed or was skipped.
    """
    # this module's names are in that one
    from tests.kubernetes import command as kubernetes

    require_programs()
    kubernetes.require()
    for broker in BROKERS:
        require(broker)
    foreign = []
    for broker in BROKERS:  # each broker with the store that `make test` does not pair with it
        (store,) = set(STORES) - {STORE_OF_BROKER[broker]}
        env = {**servers_of(broker, store), "WITH": FOREIGN}
        foreign.append(Suite(f"e2e with {FOREIGN} on {_label(env)}", [*SHARED_SHOP, E2E], env))
    without = [
        Suite(f"e2e of the baseline on {broker}", BASELINE, {"BROKER": broker, "SHOP": "baseline"})
        for broker in BROKERS
    ]
    generated = Suite("generated requests", [*SHOWN, GENERATED], {})
    slow = [generated, Suite("full", [*SHOWN, "--ignore", GENERATED, "--ignore", FAIRNESS, FULL], {}), CONTAINERS]
    found = [*in_parallel([*foreign, *without]), *in_parallel(slow)]
    return report([*found, *kubernetes.outcomes(stopped_by_signals())], list(BROKERS))


@click.command("test-compose")
def test_compose() -> int:
    """Test the unchanged compose file in containers, on each broker.

    The exit code is 1 if a test failed or was skipped.
    """
    require_programs()
    return report([alone(CONTAINERS)], list(BROKERS))


@click.command("test-fast")
def test_fast() -> int:
    """Run the tests that start no sidecar, on all cores.

    The exit code is 1 if a test failed or was skipped.
    """
    code = report([alone(Suite("unit, contracts, short simulation", QUICK, QUICK_ENV))], [])
    print(f"not covered: {NOT_COVERED}: `make test`, `make test-full`")
    return code


def _build_manifest_checkers() -> None:
    if shutil.which("etcd") is None:
        raise LaunchError("etcd is not installed: run `make system-deps` on Debian or Ubuntu")
    for program in (programs.API_SERVER, programs.KUBECTL, programs.KUBE_SCORE):
        program.find(print, Deadline())


def servers_of(broker: str, store: str) -> dict[str, str]:
    """Return the environment of a suite on these servers."""
    return {"BROKER": broker, "STORE": store, SIDECAR_API: API_OF_STORE[store]}


def _label(env: Mapping[str, str]) -> str:
    return f"{env['BROKER']} and {env['STORE']} by {env[SIDECAR_API]}"


def report(outcomes: Sequence[Outcome], brokers: Sequence[str]) -> int:
    """Print the result of each suite; return the exit code."""
    print()
    for outcome in outcomes:
        note = "" if outcome.skipped == 0 else f", {outcome.skipped} SKIPPED"
        state = "ok" if outcome.is_green else "FAILED"
        print(
            f"{state:6} {outcome.name}: {outcome.tests} tests, {outcome.failed} failed{note}, {outcome.seconds:.0f} s"
        )
    if brokers:
        print(f"brokers: {', '.join(brokers)}")
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{sum(outcome.tests - outcome.failed - outcome.skipped for outcome in outcomes)} passed, {failed} failed")
    return 0 if all(outcome.is_green for outcome in outcomes) else 1


def require(broker: str) -> None:
    """Raise LaunchError if a program that the tests on a broker need is not installed."""
    for unavailable in (*(each.unavailable for each in (BROKERS[broker], *STORES.values())), proxy.unavailable):
        problem = unavailable()
        if problem is not None:
            raise LaunchError(problem)


def require_programs(*names: str) -> None:
    """Raise LaunchError if a program is not installed; by default any that the slow tests need."""
    missing = [name for name in names or FULL_PROGRAMS if shutil.which(name) is None]
    if missing:
        raise LaunchError(f"{', '.join(missing)}: not installed: run `make system-deps-full` on Debian or Ubuntu")


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of pytest: its name, its arguments, and additions to its environment."""

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str]
    report: Path | None = None
    """Where to keep the report (junit XML); None to read it only."""


CONTAINERS = Suite("containers", [COMPOSE], {})


def alone(suite: Suite, deadline: Deadline | None = None) -> Outcome:
    """Run one suite and show its output live.

    Raises Interrupted if a stop of the deadline is requested, after the suite has cleaned up.
    """
    print(f"\n--- {suite.name}", flush=True)
    return _run(suite, None, deadline)


def in_parallel(suites: Sequence[Suite]) -> list[Outcome]:
    """Run suites in parallel, each with its own servers; show their output after all have ended."""
    print(f"\n--- {' | '.join(suite.name for suite in suites)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sidecart-test-") as folder, ThreadPoolExecutor(len(suites)) as pool:
        logs = [Path(folder) / f"{number}.log" for number in range(len(suites))]
        running = [pool.submit(_run, suite, log) for suite, log in zip(suites, logs, strict=True)]
        while wait(running, PROGRESS_SECONDS).not_done:
            print(f"    {' | '.join(_progress(log) for log in logs)}", flush=True)
        outcomes = [each.result() for each in running]
        for suite, log in zip(suites, logs, strict=True):
            print(f"\n--- {suite.name}\n{log.read_text(encoding='utf-8', errors='replace')}", flush=True)
    return outcomes


def _progress(log: Path) -> str:
    """Return the progress of a run, from its last output."""
    shares = re.findall(r"\[ *(\d+%)\]", log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []
    return shares[-1] if shares else "0%"


def _run(suite: Suite, log: Path | None, deadline: Deadline | None = None) -> Outcome:
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecart-test-")))
        output = None if log is None else stack.enter_context(log.open("wb"))
        report = suite.report or folder / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", *SLOWEST, f"--junit-xml={report}", *suite.arguments]
        env = os.environ | dict(suite.env)
        # in a session of its own Ctrl-C reaches it by the deadline only, and so once
        own = deadline is not None
        with subprocess.Popen(command, cwd=root(), env=env, stdout=output, stderr=output, start_new_session=own) as run:
            code = _ended(run, deadline)
        tests, failed, skipped = _counts(report)
    return Outcome(suite.name, code, tests, failed, skipped, time.monotonic() - started)


def _ended(run: subprocess.Popen[bytes], deadline: Deadline | None) -> int:
    """Return the exit code of a suite; a stop of the deadline ends it as Ctrl-C does."""
    if deadline is None:
        return run.wait()
    try:
        while run.poll() is None:
            deadline.pause(WAIT_SECONDS)
    except Interrupted:
        run.send_signal(signal.SIGINT)
        run.wait()
        raise
    return run.returncode


def _counts(report: Path) -> tuple[int, int, int]:
    if not report.exists():
        return 0, 0, 0
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))

    def total(*names: str) -> int:
        return sum(int(suite.get(name, "0")) for suite in suites for name in names)

    return total("tests"), total("failures", "errors"), total("skipped")
