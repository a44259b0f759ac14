"""YAML with its lines, cut into documents as daprd cuts it; what is none is said, and never raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor import yaml_files
from cli.doctor.yaml_files import Document, read
from cli.errors import LaunchError


def documents(folder: Path, text: str | bytes) -> list[Document]:
    """A file with this text, read."""
    file = folder / "file.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(file)


def test_a_value_knows_its_line(tmp_path: Path) -> None:
    """That of its key, and of an entry of a list; what is not there has the line of the last thing on the way."""
    (document,) = documents(tmp_path, "a:\n  b:\n    - one\n    - {c: true}\n  d: null\n")

    assert "true" == document.root.items("a", "b")[1].text("c")
    assert [3, 4] == [each.line for each in document.root.items("a", "b")]
    assert 2 == document.root.line_of("a", "b", "c")
    assert document.root.at("a", "d") is None


def test_documents_are_counted_and_keep_their_lines(tmp_path: Path) -> None:
    """Those that hold comments only are none, yet they count: daprd takes the first one for resiliency."""
    found = documents(tmp_path, "# nothing\n---\na: 1\n--- # a remark\nb: 2\n---\n")

    assert [(1, 3), (2, 5)] == [(each.number, each.root.line_of(*each.root.entries())) for each in found]
    assert [["a"], ["b"]] == [list(each.root.entries()) for each in found]


def test_one_bad_document_hides_no_other(tmp_path: Path) -> None:
    """As daprd reads on."""
    found = documents(tmp_path, "a: 1\n---\nb: [\n---\nc: 3\n")

    assert [True, False, True] == [each.problem is None for each in found]
    assert "3" == found[2].root.text("c")


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n b: 2\n",
        "\tb: 2\n",
        "{{- if .Values.host }}\na: 1\n",
        "a: *nobody\n",
        "a: &a [*a]\n",
        "a: \x00\n",
        "a: " + "[" * 5_000,
        b"\xff\xfe\x00a",
        b"a: \xe9\n",
        "a: !!python/object:os.system\n  - [\n",
    ],
)
def test_what_is_no_yaml_is_a_problem_with_a_line(tmp_path: Path, text: str | bytes) -> None:
    """Whatever it is."""
    (document,) = documents(tmp_path, text)

    assert document.problem
    assert 1 <= document.line <= 3


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n", "---\n# a comment\n"])
def test_an_empty_file_holds_no_document(tmp_path: Path, text: str) -> None:
    """Nor does one of comments."""
    assert [] == documents(tmp_path, text)


@pytest.mark.parametrize("text", ["just words\n", "- a\n- b\n", "1\n"])
def test_yaml_that_is_no_mapping_is_no_trouble(tmp_path: Path, text: str) -> None:
    """It has nothing that anybody could ask for."""
    (document,) = documents(tmp_path, text)

    assert ("", [], {}) == (document.root.text("kind"), document.root.items("a"), document.root.entries("a"))


def test_merges_and_aliases_are_followed(tmp_path: Path) -> None:
    """As compose files use them; what is said itself goes before what is merged."""
    (document,) = documents(tmp_path, "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n")

    assert {"a": "1", "b": "3"} == {name: each.value for name, each in document.root.entries("y").items()}


def test_aliases_of_aliases_do_not_grow(tmp_path: Path) -> None:
    """A few lines that stand for more than any memory."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    (document,) = documents(tmp_path, "\n".join(lines))

    assert 3 == len(document.root.items("a59"))


def test_comments_for_the_doctor_are_read(tmp_path: Path) -> None:
    """Alone on a line or behind something, with their lines."""
    (document,) = documents(tmp_path, "# doctor: read-only\na: 1  # doctor: ignore mdns: one machine\n")

    assert [("read-only", 1), ("ignore mdns: one machine", 2)] == [(each.text, each.line) for each in document.comments]


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not written by a person."""
    monkeypatch.setattr(yaml_files, "FILE_BYTES_MAX", 10)

    (document,) = documents(tmp_path, "a: 1\nb: 2\nc: 3\n")

    assert "larger than 10 bytes" == document.problem


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(LaunchError, match="cannot be read"):
        read(tmp_path / "nowhere.yaml")
