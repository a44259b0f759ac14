"""Kubernetes objects as plain dictionaries, and their text with the reasons as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from sidecart.kubernetes.names import NAMESPACE

Document = dict[str, Any]
WIDTH = 100


def document(
    kind: str,
    name: str,
    api: str = "v1",
    *,
    labels: Mapping[str, str] | None = None,
    namespace: str | None = NAMESPACE,
    **fields: Any,
) -> Document:
    """Return an object of this kind; `namespace` is None for an object of the whole cluster."""
    metadata: dict[str, Any] = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def text(head: str, documents: Iterable[Document], reasons: Mapping[str, str] | None = None) -> str:
    """Return a file of these objects, with `head` as its first comment.

    Each entry of `reasons` becomes a comment above the first line of each object that begins with
    its key.
    """
    parts = [_with_reasons(_dump(each), reasons or {}) for each in documents]
    return _comment(f"Written by `sidecart manifests`. {head}") + "---\n".join(parts)


class _Dumper(yaml.SafeDumper):
    """Writes equal lists and mappings in full, and longer texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_text)


def _dump(one: Document) -> str:
    return yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=10_000)


def _with_reasons(dumped: str, reasons: Mapping[str, str]) -> str:
    left = dict(reasons)
    lines: list[str] = []
    for line in dumped.splitlines(keepends=True):
        bare = line.lstrip(" ").removeprefix("- ")
        indent = len(line) - len(line.lstrip(" "))
        lines += [_comment(left.pop(start), indent) for start in list(left) if bare.startswith(start)]
        lines.append(line)
    return "".join(lines)


def _comment(words: str, indent: int = 0) -> str:
    start = f"{' ' * indent}# "
    return textwrap.fill(words, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False) + "\n"
