"""Read YAML with line numbers, split into documents as daprd splits it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from sidecart.launcher.errors import LaunchError

SUFFIXES = (".yaml", ".yml")
FILE_BYTES_MAX = 1024 * 1024
"""Larger files are not hand-written; daprd's own scanner gives up at a document of 64 KiB."""

_SEPARATOR = re.compile(r"^---.*$", re.MULTILINE)
"""daprd splits a file at this separator (dapr 1.18.2, pkg/internal/loader/disk/manifest.go)."""
_COMMENT = re.compile(r"(?:^|\s)#\s*doctor:\s*(.*?)\s*$")
_TRUE = ("true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Tree:
    """A node: a scalar's text, a mapping or a list, with its line number (from 1).

    The line of a mapping's value is the line of its key.
    """

    value: "str | dict[str, Tree] | list[Tree] | None"
    line: int

    def at(self, *path: str) -> "Tree | None":
        """The node at these keys; None if it is missing or null."""
        found: Tree | None = self
        for key in path:
            found = found.value.get(key) if found is not None and isinstance(found.value, dict) else None
        return None if found is None or found.value is None else found

    def text(self, *path: str) -> str:
        """The scalar at these keys, or an empty string."""
        found = self.at(*path)
        return found.value if found is not None and isinstance(found.value, str) else ""

    def entries(self, *path: str) -> "dict[str, Tree]":
        """The mapping at these keys, or an empty one."""
        found = self.at(*path)
        return found.value if found is not None and isinstance(found.value, dict) else {}

    def items(self, *path: str) -> "list[Tree]":
        """The list at these keys, or an empty one."""
        found = self.at(*path)
        return found.value if found is not None and isinstance(found.value, list) else []

    def texts(self, *path: str) -> list[str]:
        """The scalars of the list at these keys."""
        return [each.value for each in self.items(*path) if isinstance(each.value, str)]

    def line_of(self, *path: str) -> int:
        """The line of the node at these keys, or of the deepest key that exists."""
        found = self
        for key in path:
            inner = found.value.get(key) if isinstance(found.value, dict) else None
            if inner is None:
                break
            found = inner
        return found.line


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment for the doctor: the text after `# doctor:`."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; `problem` says why it could not be read, or is None."""

    file: Path
    number: int
    """The document's index in the file, from 0."""
    line: int
    root: Tree
    comments: tuple[Comment, ...]
    problem: str | None = None
    bytes: int = 0


def read(file: Path) -> list[Document]:
    """Every non-empty document of a file; raises LaunchError if the file cannot be read."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            return [_bad(file, 1, f"larger than {FILE_BYTES_MAX} bytes")]
        source = file.read_bytes()
    except OSError as error:
        raise LaunchError(f"{file} cannot be read: {error.strerror}") from error
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [_bad(file, source[: error.start].count(b"\n") + 1, "not UTF-8")]
    pieces = [(number, line, piece) for number, (line, piece) in enumerate(_pieces(text))]
    return [_document(file, number, line, piece) for number, line, piece in pieces if _says_anything(piece)]


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The documents, each with the number of lines before it."""
    begin = 0
    for match in _SEPARATOR.finditer(text):
        if match.start() > 0:  # a separator at the start of a file ends no document
            yield text.count("\n", 0, begin), text[begin : match.start()]
            begin = match.end() + 1
    yield text.count("\n", 0, begin), text[begin:]


def _says_anything(piece: str) -> bool:
    lines = (line.strip() for line in piece.splitlines())
    return any(line and line != "---" and not line.startswith("#") for line in lines)


def _document(file: Path, number: int, before: int, piece: str) -> Document:
    found = [(index, _COMMENT.search(line)) for index, line in enumerate(piece.split("\n"), before + 1)]
    comments = tuple(Comment(match[1], index) for index, match in found if match is not None)
    try:
        node = yaml.compose(piece, Loader=yaml.SafeLoader)
        root = Tree(None, before + 1) if node is None else _tree(node, before, node.start_mark.line, {})
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _bad(file, before + 1 + (mark.line if mark else 0), error.problem or "cannot be parsed", number)
    except yaml.YAMLError as error:
        return _bad(file, before + 1, str(error).splitlines()[0], number)
    except RecursionError:
        return _bad(file, before + 1, "nested too deeply, or an alias that contains itself", number)
    return Document(file, number, root.line, root, comments, bytes=len(piece.encode()))


def _bad(file: Path, line: int, problem: str, number: int = 0) -> Document:
    return Document(file, number, line, Tree(None, line), (), problem)


def _tree(node: yaml.Node, before: int, line: int, known: "dict[tuple[int, int], Tree]") -> Tree:
    """Convert a node; an aliased node is converted once, so that aliases cannot multiply."""
    key = (id(node), line)
    if key not in known:
        known[key] = Tree(_value(node, before, known), before + line + 1)
    return known[key]


def _value(
    node: yaml.Node, before: int, known: "dict[tuple[int, int], Tree]"
) -> "str | dict[str, Tree] | list[Tree] | None":
    match node:
        case yaml.MappingNode():
            merged: dict[str, Tree] = {}
            own: dict[str, Tree] = {}
            for name, value in node.value:
                inner = _tree(value, before, name.start_mark.line, known)
                if name.tag == "tag:yaml.org,2002:merge":
                    for part in inner.value if isinstance(inner.value, list) else [inner]:
                        merged = part.entries() | merged
                else:
                    own[str(name.value)] = inner
            return merged | own
        case yaml.SequenceNode():
            return [_tree(each, before, each.start_mark.line, known) for each in node.value]
        case yaml.ScalarNode():
            if node.tag == "tag:yaml.org,2002:null":
                return None
            if node.tag == "tag:yaml.org,2002:bool":
                return "true" if node.value.lower() in _TRUE else "false"
            return str(node.value)
        case _:
            return None
