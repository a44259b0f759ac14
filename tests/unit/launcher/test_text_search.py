"""Tests of the search for a text in all forms in which a program may have written it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecart.launcher import text_search
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.text_search import Wanted, files_with

TEXT = "zoe.0123456789abcdef"
ADDRESS = f"{TEXT}@example.com"
FORMS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "upper case": lambda text: text.upper().encode(),
    "in a URL": lambda text: quote(f"?{text}&", safe="").encode(),
    "in JSON": lambda text: json.dumps({"event": json.dumps({"to": f"<{text}>"})}).encode(),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "base64": lambda text: base64.b64encode(f'{{"email":"{text}"}}'.encode()),
    "base64, one later": lambda text: base64.b64encode(f'.{{"email":"{text}"}}'.encode()),
    "base64, two later": lambda text: base64.b64encode(f'..{{"email":"{text}"}}'.encode()),
    "base64 of upper case": lambda text: base64.b64encode(text.upper().encode()),
    "hex": lambda text: text.encode().hex().upper().encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_found(form: str, tmp_path: Path) -> None:
    """A file with the same form of another text is not."""
    (tmp_path / "with").write_bytes(FORMS[form](ADDRESS))
    (tmp_path / "without").write_bytes(FORMS[form](ADDRESS.replace("zoe", "ann")))

    assert ["with"] == files_with(tmp_path, Wanted([TEXT]))


def test_a_name_of_a_file_is_searched_too(tmp_path: Path) -> None:
    """Files of subfolders also count."""
    (tmp_path / TEXT).mkdir()
    (tmp_path / TEXT / "empty").touch()

    assert [f"{TEXT}/empty"] == files_with(tmp_path, Wanted([TEXT]))


def test_a_text_across_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the block ends."""
    monkeypatch.setattr(text_search, "BLOCK_BYTES", 64)
    for before in range(128):
        (tmp_path / f"{before:03}").write_bytes(b"." * before + ADDRESS.encode() + b"." * 64)

    assert 128 == len(files_with(tmp_path, Wanted([TEXT])))


@pytest.mark.parametrize("text", ["", "a@b.c", "zo\u00eb@example.com"])
def test_a_text_that_cannot_be_searched_is_rejected(text: str) -> None:
    """The message does not quote it."""
    with pytest.raises(LaunchError, match=r"^the text to search for must be ASCII, and have 6 characters or more$"):
        Wanted([text])
