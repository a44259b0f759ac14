"""The pages of the appendix: `sidecart bench --docs` replaces their tables by those of its run.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. A run on one broker replaces the
tables of this broker only.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

APPENDIX = root() / "docs" / "appendix"
PLACE = re.compile(r"(<!-- table: ([a-z -]+) -->\n\n).*?(\n<!-- end -->)", re.DOTALL)


def page_of(part: str, folder: Path = APPENDIX) -> Path:
    """Return the page with the results of a part of the benchmark."""
    return folder / f"performance-{part}.md"


def places(page: Path) -> set[str]:
    """Return the names of the tables on a page."""
    return {name for _, name, _ in PLACE.findall(page.read_text(encoding="utf-8"))}


def publish(part: str, tables: Mapping[str, str], files: Iterable[Path], folder: Path = APPENDIX) -> None:
    """Replace the tables with these names on the page of a part, and copy its files beside it.

    Raises LaunchError if the page has no place for a table.
    """
    page = page_of(part, folder)
    if lacking := tables.keys() - places(page):
        raise LaunchError(f"{page} has no place for the tables {', '.join(sorted(lacking))}")
    text = page.read_text(encoding="utf-8")
    page.write_text(PLACE.sub(lambda found: _filled(found, tables), text), encoding="utf-8")
    for file in files:
        shutil.copy(file, folder / "performance")


def _filled(found: re.Match[str], tables: Mapping[str, str]) -> str:
    return f"{found[1]}{tables[found[2]]}\n{found[3]}" if found[2] in tables else found[0]
