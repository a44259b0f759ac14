"""The file of a project's own words: it is optional, and a mistake in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import Topic
from sidecart.monitor.description import Description, read

TOPICS = {"LoanRequested": Topic("gateway", ("desk",), "inbox"), "BookLent": Topic("desk", ("gateway",), "inbox")}
APPS = ("gateway", "desk")


def project(folder: Path, text: str, table: str = 'live_page = "page.toml"') -> Path:
    """Write a project with this description."""
    (folder / "pyproject.toml").write_text(f"[tool.sidecart]\n{table}\n")
    (folder / "page.toml").write_text(text)
    return folder


@pytest.mark.parametrize("text", [None, "", "[tool.other]\nlive_page = 'x'", "[tool.sidecart]"])
def test_a_project_needs_no_description(tmp_path: Path, text: str | None) -> None:
    """Without pyproject.toml, without the table and without the entry the description is empty."""
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)

    assert Description() == read(tmp_path, APPS, TOPICS)


def test_the_words_of_a_project_are_read(tmp_path: Path) -> None:
    """The entries are those of the file, with defaults for the rest."""
    found = read(project(tmp_path, '[events.BookLent]\nsummary = "{title}"\n'), APPS, TOPICS)

    assert ("{title}", None, "Client") == (
        found.events["BookLent"].summary,
        found.events["BookLent"].tone,
        found.client,
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "page.toml does not describe a live page: "),
        ("client = 5", "Expected `str`, got `int` - at `$.client`"),
        ("[events.BookLent]\ncolor = 1", "unknown field `color` - at `$.events[...]`"),
        ("[events.BookLent]\ntone = 'loud'", "Invalid enum value 'loud'"),
        ("[events.BookLent]\nsummary = '{a:cube}'", "`cube` is not a format"),
        ("[events.BookLost]", "events: contracts/topics.json has no topic BookLost"),
        ("[mail]\ntopic = 'Letter'\nmessage_id = 'id'", "mail: contracts/topics.json has no topic Letter"),
        ("[erasure]\ntopic = 'Left'\nid = 'id'", "erasure: contracts/topics.json has no topic Left"),
        ("[events.BookLent.actions]\ndesk = 'x'", "events.BookLent.actions: desk does not consume BookLent"),
        ("[titles]\nattic = 'x'", "titles.attic: dapr.yaml has no such app"),
        (
            "[[flows]]\npath = '/loans'\ntopic = 'LoanRequested'\nname = 'loan'\ntitle = '{reader_id.name} borrows'",
            "the title of loan has reader_id.name, which no label of `resources` has",
        ),
        (
            "[[panels]]\ntitle = 'Loans'\nresource = 'reader_id'\nread = '/x'\nshows = {label = 'a', field = 'b'}",
            "Loans shows reader_id, which `resources` does not have",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """The message has the file, and the entry or the name that no other source knows."""
    with pytest.raises(LaunchError) as raised:
        read(project(tmp_path, text), APPS, TOPICS)

    assert str(raised.value).startswith(str(tmp_path / "page.toml"))
    assert problem in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """pyproject.toml names a file that does not exist."""
    project(tmp_path, "", 'live_page = "nowhere.toml"')

    with pytest.raises(LaunchError, match=r"nowhere\.toml does not describe a live page"):
        read(tmp_path, APPS, TOPICS)


def test_an_unreadable_project_file_is_named(tmp_path: Path) -> None:
    """The message has the file."""
    (tmp_path / "pyproject.toml").write_text("[")

    with pytest.raises(LaunchError, match=r"pyproject\.toml cannot be read"):
        read(tmp_path, APPS, TOPICS)
