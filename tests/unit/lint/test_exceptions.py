"""Every lint exception has a reason beside it."""

from pathlib import Path

import pytest

from tests.lint.command import exceptions


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = 1  # noqa: E501", [("noqa", False)]),
        ("x = 1  # noqa: E501 - the table is read across", [("noqa", True)]),
        ("x = 1  # type: ignore[attr-defined]", [("type: ignore", False)]),
        ("x = 1  # type: ignore[attr-defined]  # the stub forgets it", [("type: ignore", True)]),
        ("x = '# noqa'", []),
        ("x = 1  # a comment", []),
    ],
)
def test_a_reason_stands_beside_the_directive(tmp_path: Path, line: str, expected: list[tuple[str, bool]]) -> None:
    """The reason is the comment without the directive; a string is not a comment."""
    file = tmp_path / "module.py"
    file.write_text(line + "\n")

    assert expected == [(one.kind, one.has_reason) for one in exceptions([file])]
