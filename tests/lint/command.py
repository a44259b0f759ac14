"""`sidecart lint`: ruff, mypy, the doctor, reasons of lint exceptions, the contracts, the prose."""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from sidecart.cli import contracts
from sidecart.doctor import command as doctor
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from tests.lint import prose

PACKAGES = ("gateway", "services", "shop", "src", "tests", "bench", "docs", "supply")


@click.command("lint")
@click.argument(
    "paths",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[PATH]...",
    help="with --prose: check only these files and folders (default: the whole project)",
)
@click.option("--prose", "only_prose", is_flag=True, help="check only the prose, and list warnings too")
def command(paths: tuple[Path, ...], only_prose: bool) -> int:
    """Run ruff, mypy --strict, the doctor and the prose rules; a lint exception needs a reason.

    The exit code is 1 if a check found an error.
    """
    if paths and not only_prose:
        raise click.UsageError("PATH needs --prose")
    return _lint_prose(paths or [root()], with_warnings=True) if only_prose else lint()


def lint() -> int:
    """Run every check on the whole project; return 1 if one found an error."""
    packages = [name for name in PACKAGES if any((root() / name).rglob("*.py"))]
    python = [sys.executable, "-m"]
    commands = (
        [*python, "ruff", "check", "."],
        [*python, "ruff", "format", "--check", "."],
        [*python, "mypy", "--strict", *packages],
    )
    codes = []
    for words in commands:
        print(f"--- {' '.join(words[2:])}", flush=True)
        codes.append(subprocess.run(words, cwd=root(), check=False).returncode)
    print("--- doctor", flush=True)
    findings = doctor.project()
    for each in findings:
        print(f"{each.place}: {each.what} [{each.rule}]; fix: {each.fix}")
    files = [root() / "sidecart", *(path for name in packages for path in sorted((root() / name).rglob("*.py")))]
    found = list(exceptions(files))
    for kind in ("type: ignore", "noqa"):
        print(f"{kind}: {sum(one.kind == kind for one in found)}")
    bare = [one for one in found if not one.has_reason]
    for one in bare:
        print(f"{one.path.relative_to(root())}:{one.line}: no reason beside `{one.kind}`")
    print("--- contracts", flush=True)
    codes.append(contracts.check())
    print("--- prose", flush=True)
    codes.append(_lint_prose([root()], with_warnings=False))
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
    """One comment that disables a check."""

    path: Path
    line: int
    kind: str
    has_reason: bool


_DIRECTIVE = re.compile(
    r"#\s*(type: ignore|(?:ruff: |flake8: )?noqa)(\[[^\]]*\]|:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)?"
)
REASON_CHARACTERS_MIN = 8


def exceptions(paths: Iterable[Path]) -> Iterable[LintException]:
    """Yield every comment that disables a check.

    Its reason is the rest of the comment without the directives.
    """
    for path in paths:
        source = path.read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type != tokenize.COMMENT:
                continue
            reason = _DIRECTIVE.sub("", token.string).strip("# -:")
            for match in _DIRECTIVE.finditer(token.string):
                kind = "noqa" if match[1].endswith("noqa") else match[1]
                yield LintException(path, token.start[0], kind, len(reason) >= REASON_CHARACTERS_MIN)
