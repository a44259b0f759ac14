"""Every locked package has a known license that is allowed."""

from __future__ import annotations

import pytest

from sidecart.launcher.project import root
from supply import licenses, locks

IMAGE = locks.names(locks.LOCKS[locks.IMAGE])
ALL = licenses.found()


def test_every_license_is_known_and_allowed() -> None:
    """The developer's lock includes the packages of the image."""
    assert IMAGE < set(ALL)
    assert [] == licenses.problems(ALL, IMAGE)


def test_the_page_is_current() -> None:
    """The table of docs/reference/licenses.md is generated."""
    page = (root() / licenses.PAGE).read_text(encoding="utf-8")

    assert licenses.page() == page, f"{licenses.PAGE}: run `./sidecart licenses --write`"


def test_an_unknown_license_fails() -> None:
    """The line names the package and what to do."""
    [line] = licenses.problems({"new-package": licenses.license_of("new-package")}, set())

    assert line.startswith("new-package: unknown license")
    assert "ASSIGNED" in line


@pytest.mark.parametrize(
    "expression",
    ["GPL-3.0-only", "AGPL-3.0-or-later", "SSPL-1.0", "MIT AND GPL-2.0-only", "(MIT)", "GPL-2.0-only WITH X"],
)
def test_a_license_that_is_not_allowed_fails(expression: str) -> None:
    """Every part of one alternative must be allowed."""
    assert [f"new-package: {expression} is not allowed (supply/licenses.py)"] == licenses.problems(
        {"new-package": expression}, set()
    )


def test_one_allowed_alternative_is_enough() -> None:
    """A package under two licenses may be used under either."""
    assert licenses.is_allowed("GPL-2.0-only OR MIT")
    assert licenses.is_allowed("Apache-2.0 AND MIT")


@pytest.mark.parametrize(("name", "expression"), licenses.EXCEPTIONS.items())
def test_an_exception_holds_for_one_package_outside_the_image(name: str, expression: str) -> None:
    """The same package fails in the image, and another package fails with that license."""
    assert ALL[name] == expression
    assert [] == licenses.problems({name: expression}, set())
    assert licenses.problems({name: expression}, {name})
    assert licenses.problems({"another": expression}, set())


@pytest.mark.parametrize("name", licenses.ASSIGNED)
def test_no_assigned_license_is_superfluous(name: str) -> None:
    """A package whose metadata names its license needs no entry, and neither does a removed one."""
    assert name in ALL
    assert licenses.declared(name) is None
