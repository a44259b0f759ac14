"""Every command of the documentation runs in a test: here, or in a test that elsewhere() names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecart.launcher.project import root
from tests import suites
from tests.compose import test_guide
from tests.e2e import test_readme
from tests.full import test_dapr_run, test_dashboard, test_foreign_suite, test_personal_data, test_running_shops
from tests.full.documentation import commands, documented, documented_commands
from tests.full.project_copy import MAKE_ENDS, copied, foreground, run_in, shell_environment, wait_for_line
from tests.kubernetes import test_commands as test_cluster_commands
from tests.kubernetes.one_command import test_up_and_down

ONE_SIDECAR = (
    "./sidecart doctor components/policies components/brokers/redis components/stores/redis "
    "--env-file deploy.env.example --env-file dapr/topics.env"
)
FINITE: Mapping[str, tuple[int, str]] = {
    "make demo": (0, r"^demo passed: "),
    "make demo BROKER=rabbitmq STORE=postgres": (0, r"^demo passed: "),
    "make demo WITHOUT=billing": (2, r"billing"),
    "make system-deps": (0, r"installed"),
    "make system-deps-full": (0, r"installed"),
    "make test-fast": (0, r"^not covered: "),
    "./sidecart examples": (0, r" events, 0 files changed$"),
    "./sidecart contracts check": (0, r"^contracts: 0 breaking"),
    "./sidecart contracts release 0.3.0": (0, r"contracts/released/0\.3\.0"),
    "./sidecart credentials": (0, r"ACL SETUSER "),
    "./sidecart doctor": (0, r""),
    ONE_SIDECAR: (0, r""),
    "./sidecart doctor --each tests/doctor/traps --env-file tests/doctor/sidecar.env": (1, r""),
    ".venv/bin/python -m pytest -q tests/unit/gateway": (0, r" passed in "),
    ".venv/bin/python -m pytest -q tests/kubernetes/api": (0, r" passed in "),
    ".venv/bin/python -m pytest -q tests/contracts tests/unit/test_compose_file.py tests/unit/test_run_file.py": (
        0,
        r" passed in ",
    ),
}
"""Each command that ends by itself: its exit code, and what its output contains."""
LONG: Mapping[str, str] = {
    "make attack": r"--- attacks on redis",
    "make faults": "ready in",
    "make faults-mutants": "ready in",
    "make soak": " 0 min: ",
    "make bench QUICK=1": "ready in",
    'make bench BENCH="--only latency-breakdown --broker redis"': "ready in",
    'make bench BENCH="--only experiments --variant gRPC --broker redis"': "ready in",
    "./sidecart memory": "ready in",
}
"""Each command that takes many minutes, and the output after which the test stops it.

`make test` has short runs of them: tests/faults, tests/unit/bench; `make test-full` has
tests/full/test_bench.py.
"""
SHOW = "./sidecart faults --show"


def elsewhere() -> dict[str, list[str]]:
    """Return the commands that other tests run, by the file of the test."""
    gate = (root() / ".ci" / "run").read_text("utf-8").splitlines()
    return {
        ".ci/run": [line for line in gate if line.startswith("make ")],
        "tests/suites.py": [
            "make test-full",  # it runs this test
            f'WITH={suites.FOREIGN} .venv/bin/python -m pytest -q -m "{suites.SHARED_SHOP[1]}" {suites.E2E}',
        ],
        "tests/e2e/test_readme.py": [*commands(test_readme.pasted()), test_readme.DEMO],
        "tests/compose/test_guide.py": [line for block in test_guide.blocks_of_the_guide() for line in commands(block)],
        "tests/kubernetes/test_commands.py": [*test_cluster_commands.COMMANDS],
        "tests/kubernetes/one_command/test_up_and_down.py": [*test_up_and_down.COMMANDS],
        "tests/full/test_dapr_run.py": test_dapr_run.COMMANDS,
        "tests/full/test_dashboard.py": [test_dashboard.PROMETHEUS],
        "tests/full/test_foreign_suite.py": [test_foreign_suite.OWN_TESTS, test_foreign_suite.REPLACED],
        "tests/full/test_personal_data.py": [
            *(line for block in test_personal_data.guide() for line in commands(block)),
            test_personal_data.REWRITE,
        ],
        "tests/full/test_running_shops.py": [
            *test_running_shops.STARTS,
            *test_running_shops.RUNNING,
            test_running_shops.WITHOUT_PAGE,
            test_running_shops.TRACED,
            test_running_shops.SEVERAL,
            test_running_shops.OTHER_ISSUER,
            test_running_shops.NO_TOKENS,
            test_running_shops.FLOW,
            test_running_shops.CATCHER,
            test_running_shops.REJECTING,
            test_running_shops.REAL_MAIL,
        ],
    }


def test_every_command_of_the_documentation_runs_in_a_test() -> None:
    """A command in a code block is one that a test runs, and the other way round."""
    here = {*FINITE, *LONG, SHOW}
    run = here | {command for listed in elsewhere().values() for command in listed}

    missing = {command: pages for command, pages in documented_commands().items() if command not in run}
    assert {} == missing
    assert set() == here - documented_commands().keys()


@pytest.mark.parametrize("command", FINITE)
def test_a_command_ends_as_documented(tmp_path: Path, command: str) -> None:
    """The command runs in a copy of the project, because some of them write files."""
    copy = copied(tmp_path / "copy")
    code, words = FINITE[documented(command)]

    done = run_in(copy, "bash", "-c", command)

    assert code == done.returncode, done.stdout
    assert re.search(words, done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("command", LONG)
def test_a_long_command_starts_and_stops(tmp_path: Path, command: str) -> None:
    """It reaches its measurement, and Ctrl-C ends it with everything that it started."""
    copy, log = copied(tmp_path / "copy"), tmp_path / "log"
    ends = (*MAKE_ENDS, 130)
    with foreground(copy, documented(command), log, env=shell_environment(copy), ends=ends) as process:
        wait_for_line(process, log, LONG[command])


def test_the_reports_of_fault_runs_are_shown(tmp_path: Path) -> None:
    """The command prints the table of a run that was made before."""
    copy = copied(tmp_path / "copy")

    def shell(command: str) -> str:
        done = run_in(copy, "bash", "-c", command)
        assert 0 == done.returncode, done
        return done.stdout

    shell("./sidecart faults --kind swallow --short")
    assert "| swallow, redis, redis, 1 |" in shell(documented(SHOW))
