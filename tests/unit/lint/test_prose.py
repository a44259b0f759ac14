"""The prose rules: each one finds a bad example and passes a good one, with the real Vale."""

import subprocess
from pathlib import Path

import pytest

from sidecart.cli.__main__ import main
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from tests.lint import prose, vale

SHORT = "The gateway publishes the command."


def words(number: int) -> str:
    """One sentence with so many words."""
    return " ".join(["Word", *["word"] * (number - 1)]) + "."


def wrapped(text: str) -> str:
    """The text in lines of ten words."""
    parts = text.split()
    return "\n".join(" ".join(parts[at : at + 10]) for at in range(0, len(parts), 10))


def found(path: Path, text: str) -> list[tuple[int, str]]:
    """Line and rule of each finding in a file with this text."""
    path.write_text(text)
    return [(each.line, each.rule.removeprefix("Sidecart.")) for each in prose.check([path], print, Deadline())]


RULES = [
    ("People", "Nobody waits.", SHORT),
    ("People", "The log tells whoever reads it.", "The log tells the reader."),
    ("People", "Anyone, someone, everybody: somebody.", "No process reads it."),
    ("Gender", "The gateway knows his callers.", "The gateway knows its callers. Cache the header there."),
    ("Terms", "The broker stands still.", "The broker is paused."),
    ("Terms", "A WorldFault is retried.", "A TransientError is retried."),
    ("Terms", "The entry is left to its writer.", "The entry is deferred to its writer."),
    ("BecauseFor", "It waits, for it may come back.", "It waits for an event, for a time and for it."),
    ("WhatSubject", "What was published is read again.", "What is a held request?"),
    ("WhatSubject", "What a caller sees is the answer.", "## What you need"),
    ("Sentence", wrapped(words(26)), wrapped(words(25) + " " + words(25))),
    ("SentenceLimit", wrapped(words(41)), wrapped(words(40))),
]


@pytest.mark.parametrize(("rule", "bad", "good"), RULES)
def test_a_rule_finds_the_bad_example_only(rule: str, bad: str, good: str, tmp_path: Path) -> None:
    """Each rule holds in Markdown; code spans, code blocks and quotations are exempt."""
    code = f"```\n{bad}\n```\n\n`{bad.split()[0]}`\n\n{good}\n"

    assert rule in {each for _, each in found(tmp_path / "bad.md", bad + "\n")}
    assert rule not in {each for _, each in found(tmp_path / "good.md", code)}


SOURCES = {
    "a.py": '"""Docs."""\n\nLIMIT = 1\n"""{}"""\n',
    "b.py": '"""{}"""\n',
    "c.py": "x = 1\n\n# {}\n",
    "d.py": 'def f():\n    """Return it.\n\n    {}\n    """\n',
    "e.py": "def f(log):\n    log(f'{{1}} {}')\n",
    "a.js": "const x = 1;\n\n// {}\n",
    "b.js": "/**\n * A function.\n *\n * {}\n */\n",
    "a.mjs": "const x = 1;\n\n// {}\n",
    "a.css": "a { color: red }\n/* {} */\n".replace("{ color", "{{ color").replace("red }", "red }}"),
    "a.yaml": "a: 1\n\n# {}\n",
    "a.sh": "#!/bin/sh\nset -e\n# {}\n",
    "a.toml": "a = 1\nb = 2  # {}\n",
    "Makefile": "run: ## {}\n\t@true\n",
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_kind_of_prose_is_read(name: str, tmp_path: Path) -> None:
    """Comments, docstrings of every kind, and messages: the finding has the line of the source."""
    bad = SOURCES[name].format("Then nobody waits for it.")
    line = next(number for number, text in enumerate(bad.splitlines(), 1) if "nobody" in text)

    assert [(line, "People")] == found(tmp_path / name, bad)
    assert [] == found(tmp_path / name, SOURCES[name].format("Then no process waits."))


def test_code_is_no_prose(tmp_path: Path) -> None:
    """Names, one-word strings, YAML values and shell commands may contain any word."""
    assert [] == found(tmp_path / "a.py", 'nobody = his = "whoever"\n')
    assert [] == found(tmp_path / "a.js", 'const nobody = "somebody told him";\n')
    assert [] == found(tmp_path / "a.mjs", 'const nobody = "somebody told him";\n')
    assert [] == found(tmp_path / "a.yaml", "owner: nobody\n")
    assert [] == found(tmp_path / "a.sh", "#!/bin/nobody\nsu nobody\n")


def test_a_docstring_does_not_begin_with_what(tmp_path: Path) -> None:
    """`What ...` names nothing; a question and a page of documentation may begin with it."""
    assert (1, "WhatDocstring") in found(tmp_path / "a.py", '"""What makes them."""\n')
    assert [] == found(tmp_path / "a.py", '"""The tracer. Tells what it makes."""\n')
    assert [] == found(tmp_path / "a.md", "# What you need\n")


def test_sentences_of_consecutive_comments_are_joined(tmp_path: Path) -> None:
    """A sentence over several comment lines is one sentence; comments apart are two."""
    half = " ".join(["word"] * 14)

    assert [(1, "Sentence")] == found(tmp_path / "a.yaml", f"# Word {half}\n# word {half}.\n")
    assert [] == found(tmp_path / "a.yaml", f"# Word {half}\na: 1\n# word {half}.\n")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.md", "word " * 20 + "x\n", [(1, "Width")]),
        ("a.md", "```\n" + "word " * 20 + "x\n```\n| " + "word " * 20 + "|\n", []),
        ("a.md", "- https://example.org/" + "x" * 100 + "\n", []),
        ("a.py", "# " + "word " * 20 + "\n", [(1, "Width")]),
        ("a.py", '"""Docs.\n\n' + "word " * 20 + 'x\n"""\n', [(3, "Width")]),
        ("a.py", 'x = """\n# ' + "word " * 20 + 'x\n"""\n', []),
        ("a.py", "x = " + "1 + " * 27 + "1  # short\n", []),
        ("a.yaml", "# " + "word " * 20 + "\n", [(1, "Width")]),
        ("a.js", "// " + "word " * 20 + "\n", [(1, "Width")]),
        ("a.css", "/* " + "word " * 20 + "*/\n", [(1, "Width")]),
        ("a.css", "#name { " + "margin: 0; " * 10 + "}\n", []),
    ],
)
def test_prose_is_wrapped(name: str, text: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    """Prose ends at column 100; code, tables, code blocks and a long URL do not count."""
    (tmp_path / name).write_text(text)

    findings = prose.long_lines(tmp_path / name)

    assert expected == [(each.line, each.rule.removeprefix("Sidecart.")) for each in findings]


def test_messages_are_strings_of_two_words() -> None:
    """Docstrings and single words are left out; f-string fields are `X`; markup is escaped."""
    source = '"""A module docstring."""\nx = ["one", "two words", f"{x} waits for {y!r:>4} *now*", "a  b"]\n'

    assert [(2, "two words"), (2, r"X waits for X \*now\*")] == list(prose.messages(source))


def test_lint_prose_of_one_file_lists_warnings_and_fails_on_errors_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1 with an error, 0 with warnings alone; a finding names file and line."""
    (tmp_path / "warning.md").write_text(wrapped(words(26)))
    (tmp_path / "error.md").write_text("Nobody waits.\n")

    assert 0 == main(["lint", "--prose", str(tmp_path / "warning.md")])
    warned = capsys.readouterr().out
    assert 1 == main(["lint", "--prose", str(tmp_path / "error.md")])

    assert "warning.md:1: warning: 26 words" in warned
    assert "prose: 0 errors, 1 warnings" in warned
    assert "error.md:1: error: Name a component" in capsys.readouterr().out


def test_a_path_needs_the_option_prose(capsys: pytest.CaptureFixture[str]) -> None:
    """The other checks read the whole project."""
    assert 2 == main(["lint", "README.md"])
    assert "PATH needs --prose" in capsys.readouterr().err


def test_without_vale_the_check_fails_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check does not pass without Vale."""

    def find(*_: object) -> Path:
        raise LaunchError("no compiler: install Vale")

    monkeypatch.setattr(vale, "find", find)

    assert 1 == main(["lint", "--prose", str(root() / "CONTRIBUTING.md")])
    assert "prose: no compiler: install Vale" in capsys.readouterr().out


def test_a_folder_is_read_as_git_lists_it(tmp_path: Path) -> None:
    """Ignored files and files without prose are left out; a folder outside git is an error."""
    for name in ("a.md", "b.json", "sub/c.yaml", "ignored.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    with pytest.raises(LaunchError, match="no folder of a git checkout"):
        list(prose.listed([tmp_path]))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    assert [tmp_path / "a.md", tmp_path / "sub/c.yaml"] == sorted(prose.listed([tmp_path]))
