"""`sidecart lint --prose`: checks docs, comments, docstrings and messages with Vale.

Vale reads Markdown, and the comments of Python, JavaScript, CSS and Java. This module copies the
rest into temporary files, so that the rules in styles/ cover it too:

- the `#` comments of YAML and shell;
- the messages of the product packages: string literals of two words and more;
- code whose file name does not tell Vale the language.
"""

import ast
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.programs import Report
from sidecart.launcher.project import root
from tests.lint import vale

CONFIG = ".vale.ini"
WIDTH_MAX = 100
"""Columns of a line of prose; code may have 120."""

NATIVE = frozenset({".md", ".py", ".js", ".css", ".java"})
"""Vale finds the prose in these."""
HASH = frozenset({".yaml", ".yml", ".toml", ".conf", ".env", ".example", ".sh"})
"""A comment in these begins with `#`."""
HASH_PREFIX = ("#",)
SLASH_PREFIXES = ("//", "/*", "*")
"""A line of a comment in JavaScript, CSS and Java begins with one of these."""
PYTHON_NAMES = frozenset({"sidecart"})
HASH_NAMES = frozenset({"run", "system-deps", "make-secrets", "Makefile", "Dockerfile"})
MESSAGE_PACKAGES = ("gateway", "services", "shop", "src")
EXCLUDED = (
    "styles/",  # the rules quote the words that they forbid
    "docs/appendix/",  # results that the benchmark and the fault suite print
    "tests/doctor/traps/document-too-long.yaml",  # a comment of 67 KB
)

VALE_SECONDS = 120
"""A run over the whole tree takes a few seconds on two idle cores."""
PROCESSES = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that one line breaks; only an `error` fails the check."""

    path: Path
    line: int
    level: str
    rule: str
    text: str

    def __str__(self) -> str:
        path = self.path.relative_to(root()) if self.path.is_relative_to(root()) else self.path
        return f"{path}:{self.line}: {self.level}: {self.text} [{self.rule}]"


@dataclass(frozen=True, slots=True)
class Extract:
    """Prose copied from a file; the source line of each copied line, by its index."""

    path: Path
    suffix: str
    text: str
    lines: Sequence[int]


def check(paths: Iterable[Path], report: Report, deadline: Deadline) -> list[Finding]:
    """Return the findings of all files under the paths, sorted by file and line.

    Raises LaunchError if Vale is not available, or fails.
    """
    files = sorted(set(listed(paths)))
    findings = [finding for file in files for finding in long_lines(file)]
    if files:
        findings += _vale(files, report, deadline)
    return sorted(findings, key=lambda each: (each.path, each.line, each.rule))


def listed(paths: Iterable[Path]) -> Iterator[Path]:
    """Return the files with prose under the paths: each file, and each folder's files in git."""
    for path in paths:
        if path.is_file():
            yield path.resolve()
            continue
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "."]
        try:
            answer = subprocess.run(command, cwd=path, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise LaunchError(
                f"{path} is no folder of a git checkout: lint --prose takes its files from git"
            ) from error
        for name in filter(None, answer.stdout.split("\0")):
            file = (path / name).resolve()
            if file.is_file() and _kind(file) and not _is_excluded(file):
                yield file


def _is_excluded(file: Path) -> bool:
    return file.is_relative_to(root()) and file.relative_to(root()).as_posix().startswith(EXCLUDED)


def _kind(file: Path) -> str:
    """Return how Vale reads a file; empty if it has no prose.

    The result is `native`, `hash`, or for a copy the suffix by which Vale knows the language.
    """
    if file.suffix in NATIVE:
        return "native"
    if file.name in PYTHON_NAMES:
        return ".py"
    if file.suffix == ".mjs":
        return ".js"
    return "hash" if file.suffix in HASH or file.name in HASH_NAMES else ""


# --- Vale


def _vale(files: Sequence[Path], report: Report, deadline: Deadline) -> list[Finding]:
    program = vale.find(report, deadline)
    with tempfile.TemporaryDirectory(prefix="sidecart-prose-") as temporary:
        folder = Path(temporary)
        copies: dict[str, Extract] = {}
        for extract in (each for file in files for each in extracts(file)):
            copy = folder / f"{len(copies)}{extract.suffix}"
            copy.write_text(extract.text, encoding="utf-8")
            copies[str(copy)] = extract
        # Absolute paths, because the keys of Vale's JSON are its arguments.
        names = [*(str(file) for file in files if _kind(file) == "native"), *copies]
        # Vale lints the files of one command line one after the other.
        parts = [names[first::PROCESSES] for first in range(min(PROCESSES, len(names)))]
        with ThreadPoolExecutor(PROCESSES) as pool:
            answers = list(pool.map(lambda part: _alerts(program, part), parts))
    alerts = [(name, alert) for answer in answers for name, found in answer.items() for alert in found]
    return [_finding(name, alert, copies.get(name)) for name, alert in alerts]


def _alerts(program: Path, names: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    command = [str(program), f"--config={CONFIG}", "--output=JSON", "--no-exit", *names]
    try:
        answer = subprocess.run(command, cwd=root(), capture_output=True, text=True, timeout=VALE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"{program} took longer than {VALE_SECONDS} s") from error
    except OSError as error:
        raise LaunchError(f"{program} cannot be run: {error.strerror}; {vale.REMEDY}") from error
    try:
        if answer.returncode == 0:
            found: dict[str, list[dict[str, object]]] = json.loads(answer.stdout)
            return found
    except ValueError:
        pass  # reported below, with what Vale printed in place of JSON
    raise LaunchError(f"{program} failed: {' '.join((answer.stderr or answer.stdout).split()) or 'no reason given'}")


def _finding(name: str, alert: dict[str, object], extract: Extract | None) -> Finding:
    path, line = Path(name), int(str(alert["Line"]))
    if extract is not None:
        path, line = extract.path, extract.lines[line - 1]
    return Finding(path, line, str(alert["Severity"]), str(alert["Check"]), str(alert["Message"]))


# --- Copies of the prose that Vale cannot read


def extracts(file: Path) -> Iterator[Extract]:
    """Copy the prose of a file that Vale does not find."""
    kind = _kind(file)
    if kind == "hash":
        text = file.read_text(encoding="utf-8")
        yield Extract(file, ".comments.md", hash_comments(text), range(1, text.count("\n") + 2))
    if kind.startswith("."):
        text = file.read_text(encoding="utf-8")
        yield Extract(file, f".copy{kind}", text, range(1, text.count("\n") + 2))
    if file.suffix == ".py" and _has_messages(file):
        found = list(messages(file.read_text(encoding="utf-8")))
        lines = [line for line, _ in found for _ in range(2)]
        yield Extract(file, ".messages.md", "".join(f"{text}\n\n" for _, text in found), lines)


def _has_messages(file: Path) -> bool:
    return not file.is_relative_to(root()) or file.relative_to(root()).parts[0] in MESSAGE_PACKAGES


_HASH_COMMENT = re.compile(r"(?:^|\s)#(?!!)(?P<text>.*)$")


def hash_comments(text: str) -> str:
    """Return the `#` comments of a file on their own lines; all other lines are empty."""
    found = (_HASH_COMMENT.search(line) for line in text.splitlines())
    return "\n".join(match["text"].lstrip("# ") if match else "" for match in found) + "\n"


_TWO_WORDS = re.compile(r"[A-Za-z]{2,}[,;:.]? +[A-Za-z]{2,}")
_MARKUP = re.compile(r"([`*_<>\[\]\\#|])")


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Yield each string literal of two words and more but docstrings, with its line, as one line.

    A replacement field of an f-string becomes `X`.
    """
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        match node:
            case ast.Constant(value=str(text)):
                pass
            case ast.JoinedStr(values=parts):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
            case _:
                continue
        if _TWO_WORDS.search(text):
            yield node.lineno, _MARKUP.sub(r"\\\1", " ".join(text.split()))


# --- The width of prose


def long_lines(file: Path) -> Iterator[Finding]:
    """Yield the lines of prose above WIDTH_MAX columns.

    Tables, code blocks and lines without a space may be longer.
    """
    text = file.read_text(encoding="utf-8")
    if all(len(line) <= WIDTH_MAX for line in text.splitlines()):
        return  # most files: parsing them takes longer
    if file.suffix == ".md":
        numbered = _markdown_prose(text)
    elif file.suffix == ".py" or file.name in PYTHON_NAMES:
        numbered = _python_prose(text)
    else:
        prefixes = HASH_PREFIX if _kind(file) == "hash" else SLASH_PREFIXES
        numbered = (each for each in enumerate(text.splitlines(), 1) if each[1].lstrip().startswith(prefixes))
    for number, line in numbered:
        if len(line) > WIDTH_MAX and len(line.strip("#/*->. \"'").split()) > 1:
            message = f"{len(line)} columns: wrap prose at {WIDTH_MAX}"
            yield Finding(file, number, "error", "Sidecart.Width", message)


def _markdown_prose(text: str) -> Iterator[tuple[int, str]]:
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            is_code = not is_code
        elif not is_code and not line.lstrip().startswith("|"):
            yield number, line


def _python_prose(text: str) -> Iterator[tuple[int, str]]:
    prose: set[int] = set()
    strings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                prose.update(range(first, last + 1))
            case ast.Constant(value=str()) | ast.JoinedStr():
                strings.update(range(node.lineno, (node.end_lineno or 0) + 1))
    for number, line in enumerate(text.splitlines(), 1):
        if number in prose or (number not in strings and line.lstrip().startswith("#")):
            yield number, line
