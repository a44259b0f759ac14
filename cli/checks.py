"""`sidecart test` and `sidecart lint`: everything that has to hold before a change goes in."""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cli import prose, proxy
from cli.deadline import Deadline
from cli.doctor import command as doctor
from cli.errors import LaunchError
from cli.project import ROOT
from cli.servers.registry import BROKERS, STORES

FAST = ("tests/unit", "tests/contracts", "tests/simulation")
E2E = "tests/e2e"
FAULTS = "tests/faults"
FULL = "tests/full"
GENERATED = "tests/full/test_schemathesis.py"
"""The longest of them, and the only one that is busy all the time: it runs beside the others, some of which wait."""
COMPOSE = "tests/compose"
PROGRESS_SECONDS = 30.0
SLOWEST = ("--durations=10", "--durations-min=20")  # seconds; pytest names them in the end
STORE_OF_BROKER = {"redis": "redis", "rabbitmq": "postgres"}
"""In `make test`; `make test-full` has the other two pairs, with a service in another language."""
FOREIGN = "user=examples/user-node"
SHARED_SHOP = ("-m", "not own_shop")
"""What a service in another language has to pass: not what starts shops of its own to try gateways and servers."""
BASELINE = ("-m", "not own_shop and not sidecars", E2E)
"""What the shop without sidecars has to pass (bench/baseline)."""
FULL_PROGRAMS = ("podman", "buildah", "runc", "debootstrap", "node", "npm", "chromium", "prometheus", "javac")
PACKAGES = ("gateway", "services", "chassis", "cli", "monitor", "tests", "bench")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of pytest did."""

    name: str
    code: int
    tests: int
    failed: int
    skipped: int
    seconds: float

    @property
    def is_green(self) -> bool:
        """Whether tests ran, none failed and none was skipped."""
        return self.code == 0 and self.failed == 0 and self.skipped == 0 and self.tests > 0


def test(options: argparse.Namespace) -> int:
    """Run the fast tests beside the same end-to-end suite on each broker, then a minute of faults on each.

    Returns 0 only if all of it ran and passed.
    """
    brokers = list(BROKERS) if options.broker == "all" else [options.broker]
    servers = {broker: {"BROKER": broker, "STORE": STORE_OF_BROKER[broker]} for broker in brokers}
    for broker in brokers:
        _require(broker)
    waiting = [Suite(f"e2e on {_said(env)}", [E2E], env) for env in servers.values()]
    if not options.e2e_only:  # those work, and the others mostly wait
        waiting.insert(0, Suite("unit, contracts, simulation", [path for path in FAST if (ROOT / path).exists()], {}))
    faults = [Suite(f"faults on {_said(env)}", [FAULTS], env) for env in servers.values()]
    return _report([*_at_once(waiting), *_at_once(faults)], brokers)


def test_full(options: argparse.Namespace) -> int:
    """Run what takes minutes: generated requests, a foreign service, dapr.yaml, containers, a page; 0 as in `test`."""
    _require_programs()
    for broker in BROKERS:
        _require(broker)
    foreign = []
    for broker in BROKERS:  # each with the store that `make test` does not give it
        (store,) = set(STORES) - {STORE_OF_BROKER[broker]}
        env = {"BROKER": broker, "STORE": store, "WITH": FOREIGN}
        foreign.append(Suite(f"e2e with {FOREIGN} on {_said(env)}", [*SHARED_SHOP, E2E], env))
    without = [
        Suite(f"e2e of the baseline on {broker}", BASELINE, {"BROKER": broker, "SHOP": "baseline"})
        for broker in BROKERS
    ]
    generated = Suite("generated requests", ["-s", GENERATED], {})
    slow = [generated, Suite("full", ["-s", "--ignore", GENERATED, FULL], {}), CONTAINERS]
    return _report([*_at_once([*foreign, *without]), *_at_once(slow)], list(BROKERS))


def test_compose(options: argparse.Namespace) -> int:
    """Bring the compose file up, unchanged, on each broker; 0 only if all of it ran and passed."""
    _require_programs()
    return _report([_pytest(CONTAINERS)], list(BROKERS))


def _said(env: Mapping[str, str]) -> str:
    return f"{env['BROKER']} and {env['STORE']}"


def _report(outcomes: Sequence[Outcome], brokers: Sequence[str]) -> int:
    print()
    for outcome in outcomes:
        note = "" if outcome.skipped == 0 else f", {outcome.skipped} SKIPPED"
        state = "ok" if outcome.is_green else "FAILED"
        print(
            f"{state:6} {outcome.name}: {outcome.tests} tests, {outcome.failed} failed{note}, {outcome.seconds:.0f} s"
        )
    print(f"brokers: {', '.join(brokers)}")
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{sum(outcome.tests - outcome.failed - outcome.skipped for outcome in outcomes)} passed, {failed} failed")
    return 0 if all(outcome.is_green for outcome in outcomes) else 1


def _require(broker: str) -> None:
    for unavailable in (*(each.unavailable for each in (BROKERS[broker].server, *STORES.values())), proxy.unavailable):
        problem = unavailable()
        if problem is not None:
            raise LaunchError(problem)


def _require_programs() -> None:
    missing = [name for name in FULL_PROGRAMS if shutil.which(name) is None]
    if missing:
        raise LaunchError(f"{', '.join(missing)}: not installed; `make system-deps-full` does it on Debian and Ubuntu")


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of pytest: what it is called, its arguments, and what it adds to the environment."""

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str]


CONTAINERS = Suite("containers", [COMPOSE], {})


def _pytest(suite: Suite) -> Outcome:
    """Run one; what it prints is seen as it comes."""
    print(f"\n--- {suite.name}", flush=True)
    return _run(suite, None)


def _at_once(suites: Sequence[Suite]) -> list[Outcome]:
    """Run some beside each other, each with servers of its own; what they print is seen when all have ended."""
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
    """How far a run has come, by what it printed."""
    shares = re.findall(r"\[ *(\d+%)\]", log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []
    return shares[-1] if shares else "0%"


def _run(suite: Suite, log: Path | None) -> Outcome:
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecart-test-")))
        output = None if log is None else stack.enter_context(log.open("wb"))
        report = folder / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", *SLOWEST, f"--junit-xml={report}", *suite.arguments]
        env = os.environ | dict(suite.env)
        code = subprocess.run(command, cwd=ROOT, env=env, stdout=output, stderr=output, check=False).returncode
        tests, failed, skipped = _counts(report)
    return Outcome(suite.name, code, tests, failed, skipped, time.monotonic() - started)


def _counts(report: Path) -> tuple[int, int, int]:
    if not report.exists():
        return 0, 0, 0
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))

    def total(*names: str) -> int:
        return sum(int(suite.get(name, "0")) for suite in suites for name in names)

    return total("tests"), total("failures", "errors"), total("skipped")


def lint(options: argparse.Namespace) -> int:
    """Run ruff, mypy --strict, the doctor and the prose rules; each exception needs its reason.

    With --prose only the prose rules run, on the given paths, and warnings are listed too.
    """
    if options.prose is not None:
        return _lint_prose(options.prose or [ROOT], with_warnings=True)
    packages = [name for name in PACKAGES if any((ROOT / name).rglob("*.py"))]
    python = [sys.executable, "-m"]
    commands = (
        [*python, "ruff", "check", "."],
        [*python, "ruff", "format", "--check", "."],
        [*python, "mypy", "--strict", *packages],
    )
    codes = []
    for command in commands:
        print(f"--- {' '.join(command[2:])}", flush=True)
        codes.append(subprocess.run(command, cwd=ROOT, check=False).returncode)
    print("--- doctor", flush=True)
    findings = doctor.project()
    for each in findings:
        print(f"{each.place}: {each.what} [{each.rule}]; fix: {each.fix}")
    files = [ROOT / "sidecart", *(path for name in packages for path in sorted((ROOT / name).rglob("*.py")))]
    found = list(exceptions(files))
    for kind in ("type: ignore", "noqa"):
        print(f"{kind}: {sum(one.kind == kind for one in found)}")
    bare = [one for one in found if not one.has_reason]
    for one in bare:
        print(f"{one.path.relative_to(ROOT)}:{one.line}: no reason beside `{one.kind}`")
    print("--- prose", flush=True)
    codes.append(_lint_prose([ROOT], with_warnings=False))
    return 1 if any(codes) or findings or bare else 0


def _lint_prose(paths: Sequence[Path], with_warnings: bool) -> int:
    """Print the findings and return 1 if there is an error; a missing Vale is an error."""
    try:
        findings = prose.check(paths, _to_stderr, Deadline())
    except LaunchError as error:
        print(f"prose: {error}")
        return 1
    errors = [each for each in findings if each.level == "error"]
    for each in findings if with_warnings else errors:
        print(each)
    print(f"prose: {len(errors)} errors, {len(findings) - len(errors)} warnings")
    return 1 if errors else 0


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class LintException:
    """One comment that switches a check off."""

    path: Path
    line: int
    kind: str
    has_reason: bool


_DIRECTIVE = re.compile(
    r"#\s*(type: ignore|(?:ruff: |flake8: )?noqa)(\[[^\]]*\]|:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)?"
)
REASON_CHARACTERS_MIN = 8


def exceptions(paths: Iterable[Path]) -> Iterable[LintException]:
    """Every comment that switches a check off; its reason is what stands in the comment besides the directives."""
    for path in paths:
        source = path.read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type != tokenize.COMMENT:
                continue
            reason = _DIRECTIVE.sub("", token.string).strip("# -:")
            for match in _DIRECTIVE.finditer(token.string):
                kind = "noqa" if match[1].endswith("noqa") else match[1]
                yield LintException(path, token.start[0], kind, len(reason) >= REASON_CHARACTERS_MIN)
