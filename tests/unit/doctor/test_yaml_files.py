"""YAML with line numbers, split into documents as daprd splits it; invalid YAML raises nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.doctor import yaml_files
from sidecart.doctor.yaml_files import Document, read
from sidecart.launcher.errors import LaunchError


def documents(folder: Path, text: str | bytes) -> list[Document]:
    """The documents of a file with this text."""
    file = folder / "file.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(file)


def test_values_have_line_numbers(tmp_path: Path) -> None:
    """A value has its key's line; a missing one has the line of the deepest key that exists."""
    (document,) = documents(tmp_path, "a:\n  b:\n    - one\n    - {c: true}\n  d: null\n")

    assert "true" == document.root.items("a", "b")[1].text("c")
    assert [3, 4] == [each.line for each in document.root.items("a", "b")]
    assert 2 == document.root.line_of("a", "b", "c")
    assert document.root.at("a", "d") is None


def test_documents_have_an_index_and_lines(tmp_path: Path) -> None:
    """Comment-only documents are skipped but counted: daprd uses the first one for resiliency."""
    found = documents(tmp_path, "# nothing\n---\na: 1\n--- # a remark\nb: 2\n---\n")

    assert [(1, 3), (2, 5)] == [(each.number, each.root.line_of(*each.root.entries())) for each in found]
    assert [["a"], ["b"]] == [list(each.root.entries()) for each in found]


def test_one_bad_document_hides_no_other(tmp_path: Path) -> None:
    """Like daprd, the reader continues after it."""
    found = documents(tmp_path, "a: 1\n---\nb: [\n---\nc: 3\n")

    assert [True, False, True] == [each.problem is None for each in found]
    assert "3" == found[2].root.text("c")


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n b: 2\n",
        "\tb: 2\n",
        "{{- if .Values.host }}\na: 1\n",
        "a: *missing\n",
        "a: &a [*a]\n",
        "a: \x00\n",
        "a: " + "[" * 5_000,
        b"\xff\xfe\x00a",
        b"a: \xe9\n",
        "a: !!python/object:os.system\n  - [\n",
    ],
)
def test_invalid_yaml_is_a_problem_with_a_line(tmp_path: Path, text: str | bytes) -> None:
    """The document has a problem and a line number, and nothing is raised."""
    (document,) = documents(tmp_path, text)

    assert document.problem
    assert 1 <= document.line <= 3


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n", "---\n# a comment\n"])
def test_an_empty_file_has_no_document(tmp_path: Path, text: str) -> None:
    """A file of comments only has none either."""
    assert [] == documents(tmp_path, text)


@pytest.mark.parametrize("text", ["just words\n", "- a\n- b\n", "1\n"])
def test_a_document_without_a_mapping_reads_as_empty(tmp_path: Path, text: str) -> None:
    """Every lookup returns an empty value."""
    (document,) = documents(tmp_path, text)

    assert ("", [], {}) == (document.root.text("kind"), document.root.items("a"), document.root.entries("a"))


def test_merge_keys_and_aliases_are_resolved(tmp_path: Path) -> None:
    """A mapping's own keys override merged ones, as in compose files."""
    (document,) = documents(tmp_path, "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n")

    assert {"a": "1", "b": "3"} == {name: each.value for name, each in document.root.entries("y").items()}


def test_nested_aliases_do_not_multiply(tmp_path: Path) -> None:
    """Expanding the aliases of this small file would exceed any memory."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    (document,) = documents(tmp_path, "\n".join(lines))

    assert 3 == len(document.root.items("a59"))


def test_doctor_comments_are_read(tmp_path: Path) -> None:
    """A comment may stand alone or after a value; its line number is stored."""
    (document,) = documents(tmp_path, "# doctor: read-only\na: 1  # doctor: ignore mdns: one machine\n")

    assert [("read-only", 1), ("ignore mdns: one machine", 2)] == [(each.text, each.line) for each in document.comments]


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the limit has a problem instead of contents."""
    monkeypatch.setattr(yaml_files, "FILE_BYTES_MAX", 10)

    (document,) = documents(tmp_path, "a: 1\nb: 2\nc: 3\n")

    assert "larger than 10 bytes" == document.problem


def test_an_unreadable_file_raises_a_launch_error(tmp_path: Path) -> None:
    """The message fits one line."""
    with pytest.raises(LaunchError, match="cannot be read"):
        read(tmp_path / "nowhere.yaml")
