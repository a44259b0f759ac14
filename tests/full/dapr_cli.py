"""Builds the official Dapr CLI from its Go module, once for each version.

The published module of v1.16.5 requires versions of Dapr's other modules that do not build
together. dapr-cli/go.mod is its go.mod with those of daprd instead, and go.sum pins them. The
command `dapr workflow` does not compile with these versions, so the build leaves it out.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from sidecart.launcher import builds, daprd, programs
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.programs import Report

VERSION = "1.16.5"
MODULE = "github.com/dapr/cli"
REQUIREMENTS = Path(__file__).with_name("dapr-cli")
REMEDY = "see tests/full/dapr_cli.py"
LEFT_OUT = "workflow"
"""The packages cmd/workflow and pkg/workflow, and the two lines of cmd/dapr.go that name them."""


def find(report: Report, deadline: Deadline) -> Path:
    """Return the CLI from the cache of the launcher; build it first if the cache lacks it."""
    return programs.cached("dapr", f"{VERSION}-daprd-{daprd.VERSION}", _fetch, report, deadline)


def _fetch(program: Path, report: Report, deadline: Deadline) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="building-") as temporary:
        made = _build(Path(temporary), report, deadline)
        made.chmod(0o755)
        made.replace(program)


def _build(folder: Path, report: Report, deadline: Deadline) -> Path:
    go = builds.go(REMEDY, report, deadline)
    env = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    report(f"building the Dapr CLI from {MODULE} v{VERSION}, which may take some minutes")
    fetching = [go, "mod", "download", "-json", f"{MODULE}@v{VERSION}"]
    source = _source(Path(json.loads(builds.run(fetching, folder, env, REMEDY, deadline))["Dir"]), folder / "source")
    program = folder / "dapr"
    flags = f"-s -w -X main.version={VERSION}"
    command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(program), "."]
    builds.run(command, source, env, REMEDY, deadline)
    return program


def _source(module: Path, source: Path) -> Path:
    """Copy the module without the command, and with our requirements."""
    shutil.copytree(module, source, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(LEFT_OUT, "tests"))
    for path in (source, *source.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    commands = source / "cmd" / "dapr.go"
    lines = commands.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if LEFT_OUT not in line]
    assert 2 == len(lines) - len(kept), "cmd/dapr.go imports and adds the command"
    commands.write_text("".join(kept), encoding="utf-8")
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(REQUIREMENTS / name, source / name)
    return source
