"""Adds the service of the tutorial to a copy of the project: its new files and its edits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher import access_control, topic_scopes
from sidecart.launcher.project import root
from sidecart.launcher.servers.login_templates import POSTGRES, RABBITMQ, REDIS
from tests.full.project_copy import copied, run_in
from tests.full.tutorial import Change, NewFile, read_steps

TUTORIAL = root() / "docs" / "tutorials" / "new-service.md"
START = "start"
CHECK = "from sidecart.launcher.consistency import check; check()"
REPORTED = {
    "dapr.yaml": ((START, "dapr.yaml: no app loyalty, but OrderPaid has it (contracts/topics.json)"),),
    "contracts/topics.json": (
        (
            START,
            "contracts/topics.json: OrderPaid lacks the consumer loyalty, whose INPUTS has it",
        ),
        (START, "contracts/topics.json: no topic PointsEarned, which contracts/schemas/PointsEarned.json describes"),
    ),
    "gateway/queries.py": (
        (
            START,
            "gateway/queries.py: no query reads /loyalty/{user_id}, which loyalty answers (services/loyalty/app.py)",
        ),
    ),
    "contracts/WIRE.md": (
        ("tests/contracts/test_wire.py", "contracts/WIRE.md, section 1: no line loyalty"),
        (
            "tests/contracts/test_wire.py",
            "contracts/WIRE.md, section 3: no line | OrderPaid | order | notification, loyalty | inbox |",
        ),
        ("tests/contracts/test_wire.py", "contracts/WIRE.md, section 3: no line | PointsEarned | loyalty | | inbox |"),
        (
            "tests/contracts/test_wire.py",
            "contracts/WIRE.md, section 7: no line | loyalty | `<key>` | user_id, total |",
        ),
        (
            "tests/contracts/test_wire.py",
            "contracts/WIRE.md, section 7: no line | loyalty | earned | order_id, user_id, points |",
        ),
        ("tests/contracts/test_wire.py", "contracts/WIRE.md, section 10: no line loyalty"),
        (
            "tests/contracts/test_wire.py",
            "contracts/WIRE.md, section 12: no line | loyalty | `/loyalty/{}` | `points` |",
        ),
    ),
    "tye-or-compose/docker-compose.yml": (
        ("tests/unit/test_compose_file.py", "tye-or-compose/docker-compose.yml: x-app-networks lacks loyalty"),
        ("tests/unit/test_compose_file.py", "tye-or-compose/docker-compose.yml: services lacks loyalty"),
        ("tests/unit/test_compose_file.py", "tye-or-compose/docker-compose.yml: the networks of monitor lack loyalty"),
        ("tests/unit/test_compose_file.py", "tye-or-compose/docker-compose.yml: secrets lacks loyalty-identity"),
        ("tests/unit/test_compose_file.py", "tye-or-compose/docker-compose.yml: networks lacks loyalty"),
    ),
    "tye-or-compose/prometheus.yml": (
        ("tests/unit/test_compose_file.py", "tye-or-compose/prometheus.yml: no target of loyalty"),
    ),
    "README.md": (("tests/unit/test_run_file.py", "README.md: the list of services lacks loyalty"),),
}
"""The check that misses each part of an edit, `START` or a test file, and a part of its message.

The parts are in the sequence of the tutorial.
"""

GENERATED = {
    "contracts/examples": "examples",
    topic_scopes.FILE: "scopes",
    access_control.FILE: "scopes",
    REDIS: "scopes",
    RABBITMQ: "scopes",
    POSTGRES: "scopes",
    "deploy/kubernetes": "manifests",
}
"""The files that the tutorial lets a command write, and the command."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines that the service adds to an existing file, and the check that misses them."""

    file: str
    old: str
    new: str
    reported_by: str
    message: str


def edits() -> list[Edit]:
    """Return the edits of the tutorial, each part by itself."""
    changes = [step for step in read_steps(TUTORIAL) if isinstance(step, Change)]
    return [
        Edit(file, old, new, *where)
        for file, reported in REPORTED.items()
        for (old, new), where in zip(
            (part for step in changes if step.file == file for part in step.parts), reported, strict=True
        )
    ]


def new_files() -> dict[str, str]:
    """Return the text of each new file by its path in the project; the examples are generated."""
    return {step.file: step.text for step in read_steps(TUTORIAL) if isinstance(step, NewFile)}


def extended_copy(folder: Path) -> Path:
    """Copy the project to a folder that does not exist, and add the service."""
    copied(folder)
    for name, text in new_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    for each in edits():
        replace(folder, each.file, each.old, each.new)
    for command in dict.fromkeys(GENERATED.values()):
        written = python(folder, "-m", "sidecart.cli", command)
        assert 0 == written.returncode, written.stdout
    return folder


def replace(folder: Path, file: str, old: str, new: str) -> None:
    """Replace a text that a file of the copy contains once."""
    text = (folder / file).read_text("utf-8")
    assert 1 == text.count(old), f"{file} contains {text.count(old)} times: {old}"
    (folder / file).write_text(text.replace(old, new), "utf-8")


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, which finds the copy's own packages first."""
    return run_in(folder, sys.executable, *words)


def report(folder: Path, reported_by: str) -> subprocess.CompletedProcess[str]:
    """Run the check that precedes a start, or a test file."""
    words: Sequence[str] = ("-c", CHECK) if reported_by == START else ("-m", "pytest", "-q", reported_by)
    return python(folder, *words)
