"""What is read of contracts/ for a document: schemas whose references lead into it, the topic list, the examples."""

import json

import pytest

from cli.topics import TOPICS
from gateway import contracts


@pytest.mark.parametrize("folder", ["schemas", "http"])
def test_a_folders_schemas_come_with_those_that_they_share(folder: str) -> None:
    """By the names of their files, and without what a file says of itself."""
    found = contracts.schemas(folder)
    files = {path.stem for path in (contracts.FOLDER / folder).iterdir()}

    assert files | {"uuid", "cents", "envelope"} <= set(found)
    assert [] == [name for name, schema in found.items() if "$schema" in schema]


@pytest.mark.parametrize("folder", ["schemas", "http"])
def test_every_reference_leads_to_one_of_them(folder: str) -> None:
    """None leads to a file any more."""
    found = contracts.schemas(folder)
    led = {each.split('"')[0] for each in json.dumps(found).split('"$ref": "')[1:]}

    assert led
    assert led <= {f"{contracts.SCHEMAS}{name}" for name in found}


def test_every_topic_has_its_examples() -> None:
    """Under the names of their files."""
    assert list(TOPICS) == list(contracts.topics())
    assert ["edges", "typical"] == list(contracts.examples("UserCreated"))
    assert "UserCreated" == contracts.examples("UserCreated")["typical"]["type"]
