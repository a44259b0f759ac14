"""Searches bytes and files for a text, in all forms in which a program may have written it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from sidecart.launcher.errors import LaunchError

BLOCK_BYTES = 4 * 2**20
LETTERS_MIN = 6
"""A shorter text is in many files by chance."""


class Wanted:
    """Texts, and all forms in which a server or a program may have written them.

    The texts are unique words of ASCII, so a longer text with one of them has the same forms.
    Raises LaunchError, which does not quote the text, for any other text.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        exact, folded = set[bytes](), set[bytes]()
        for text in texts:
            if not text.isascii() or len(text) < LETTERS_MIN:
                raise LaunchError(f"the text to search for must be ASCII, and have {LETTERS_MIN} characters or more")
            for each in (text, text.upper()):
                exact |= set(_base64(each))
            for escaped in (text, quote(text, safe=""), json.dumps(text).strip('"')):
                folded |= {escaped.lower().encode(code) for code in ("ascii", "utf-16-le", "utf-16-be")}
            folded.add(text.lower().encode().hex().encode())
        self._exact, self._folded = sorted(exact), sorted(folded)
        self.longest = max(map(len, (*exact, *folded)))

    def are_in(self, content: bytes) -> bool:
        """Return whether bytes have one of the texts in any form."""
        lower = content.lower()
        return any(each in content for each in self._exact) or any(each in lower for each in self._folded)


def _base64(text: str) -> list[bytes]:
    """Return the base64 of a text without its neighbors, at each place in three bytes."""
    found = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode())
        whole = (before + len(text)) // 3 * 4
        found.append(encoded[(before * 4 + 2) // 3 : whole])
    return found


def files_with(folder: Path, wanted: Wanted) -> list[str]:
    """Return the files below a folder that have one of the texts in their names or bytes."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _is_in_file(path, str(path.relative_to(folder)), wanted)
    ]


def _is_in_file(path: Path, name: str, wanted: Wanted) -> bool:
    if wanted.are_in(name.encode()):
        return True
    end = b""
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                if wanted.are_in(end + block):
                    return True
                end = block[-wanted.longest :]
    except FileNotFoundError:  # a server has removed it
        return False
    return False
