"""The passwords of the logins of one server, in a private file next to its data."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

FILE = "logins.json"
PASSWORD_BYTES = 24


def read_logins(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the password of each login; create missing ones.

    Only the owner may read the file. Passwords stay the same over restarts, because some servers
    keep their logins with their data.
    """
    file = folder / FILE
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    logins = {name: known.get(name) or secrets.token_urlsafe(PASSWORD_BYTES) for name in names}
    if logins != known:
        write_private(file, json.dumps(logins, indent=2))
    return logins


def write_private(file: Path, text: str) -> None:
    """Replace a file atomically by one that only its owner may read."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(file)
