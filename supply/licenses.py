"""The license of each locked package, and which licenses are allowed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from sidecart.launcher.project import root
from supply import locks

PAGE = "docs/reference/licenses.md"
START, END = "<!-- generated: licenses -->", "<!-- end -->"
UNKNOWN = "unknown"

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("PSF-2.0", "Unlicense", "Zlib"),
    # Its terms hold for its own files, which this project does not change.
    "MPL-2.0",
}
"""Licenses without a condition for the programs that use a package."""
EXCEPTIONS: Mapping[str, str] = {
    "podman-compose": "GPL-2.0-only",  # a program that only the tests start
    "psycopg": "LGPL-3.0-only",  # an unchanged library, of the launcher only
    "psycopg-binary": "LGPL-3.0-only",  # as psycopg
}
"""Packages that may have another license. None of them is in the image."""
ASSIGNED: Mapping[str, str] = {
    "alabaster": "BSD-3-Clause",
    "async-timeout": "Apache-2.0",  # only on Python below 3.11.3
    "axe-playwright-python": "MIT",
    "colorama": "BSD-3-Clause",  # only on Windows
    "cycler": "BSD-3-Clause",
    "docutils": "BSD-2-Clause",  # also public domain; its file for Emacs, which nothing here uses, is GPL
    "kiwisolver": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "matplotlib": "PSF-2.0",  # the same text with another name
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "sphinxcontrib-applehelp": "BSD-2-Clause",
    "sphinxcontrib-devhelp": "BSD-2-Clause",
    "sphinxcontrib-htmlhelp": "BSD-2-Clause",
    "sphinxcontrib-jsmath": "BSD-2-Clause",
    "sphinxcontrib-qthelp": "BSD-2-Clause",
    "sphinxcontrib-serializinghtml": "BSD-2-Clause",
    "tzdata": "Apache-2.0",  # only on Windows
}
"""Licenses that the packages' metadata does not name, from the texts that come with them."""
FORMS: Mapping[str, str] = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""SPDX identifiers of the names in older metadata. "BSD License" names no single license."""


def license_of(name: str) -> str:
    """Return the SPDX expression of a package's license, or UNKNOWN."""
    return declared(name) or ASSIGNED.get(name, UNKNOWN)


def declared(name: str) -> str | None:
    """Return the license that an installed package's metadata names, or None.

    Sources: the expression, the license field, one classifier.
    """
    try:
        found = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    # A key that is missing is None at runtime, which the type hints do not say.
    fields = {key: str(found[key]).strip() for key in ("License-Expression", "License") if key in found}
    if "License-Expression" in fields:
        return fields["License-Expression"]
    written = fields.get("License", "").partition("\n")[0].strip()
    if FORMS.get(written, written) in ALLOWED:
        return FORMS.get(written, written)
    classifiers = [each.rpartition(" :: ")[2] for each in found.get_all("Classifier") or [] if each[:7] == "License"]
    return FORMS.get(classifiers[0]) if len(classifiers) == 1 else None


def is_allowed(expression: str) -> bool:
    """Return whether one alternative of an expression has allowed licenses only.

    An expression with parentheses or WITH is not allowed.
    """
    return any(ALLOWED.issuperset(terms.split(" AND ")) for terms in expression.split(" OR "))


def problems(found: Mapping[str, str], image: set[str]) -> list[str]:
    """Return a line for each package whose license is unknown or not allowed, by name."""
    lines = []
    for name, expression in sorted(found.items()):
        if expression == UNKNOWN:
            lines.append(f"{name}: unknown license; read its text, and add it to ASSIGNED in supply/licenses.py")
        elif not is_allowed(expression) and (name in image or EXCEPTIONS.get(name) != expression):
            lines.append(f"{name}: {expression} is not allowed (supply/licenses.py)")
    return lines


def found() -> dict[str, str]:
    """Return the license of each package of the developer's lock, which includes the image's."""
    return {name: license_of(name) for name in sorted(locks.names(locks.LOCKS[locks.DEVELOPER]))}


def page() -> str:
    """Return the page with a current table."""
    text = (root() / PAGE).read_text(encoding="utf-8")
    image = locks.names(locks.LOCKS[locks.IMAGE])
    rows = [f"| `{name}` | {license} | {'yes' if name in image else ''} |" for name, license in found().items()]
    table = "\n".join(("| package | license | in the image |", "|---|---|---|", *rows))
    before, _, rest = text.partition(START)
    return f"{before}{START}\n\n{table}\n\n{END}{rest.partition(END)[2]}"
