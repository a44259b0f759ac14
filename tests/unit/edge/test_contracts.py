"""The gateway reads schemas, the topic list and the examples from contracts/."""

import json

import pytest

from sidecart.edge.contracts import SCHEMAS, Contracts
from sidecart.launcher.project import root
from sidecart.launcher.topics import read_topics

CONTRACTS = root() / "contracts"
contracts = Contracts(CONTRACTS)


@pytest.mark.parametrize("folder", ["schemas", "http"])
def test_the_schemas_of_a_folder_include_the_shared_ones(folder: str) -> None:
    """Schemas have the names of their files, and no `$schema`."""
    found = contracts.schemas(folder)
    files = {path.stem for path in (CONTRACTS / folder).iterdir()}

    assert files | {"uuid", "cents", "envelope"} <= set(found)
    assert [] == [name for name, schema in found.items() if "$schema" in schema]


@pytest.mark.parametrize("folder", ["schemas", "http"])
def test_every_reference_is_within_the_document(folder: str) -> None:
    """No reference points to a file."""
    found = contracts.schemas(folder)
    targets = {each.split('"')[0] for each in json.dumps(found).split('"$ref": "')[1:]}

    assert targets
    assert targets <= {f"{SCHEMAS}{name}" for name in found}


def test_topics_and_examples_are_read() -> None:
    """Examples have the names of their files."""
    assert list(read_topics()) == list(contracts.topics())
    assert ["edges", "typical"] == list(contracts.examples("AccountDeposited"))
    assert "UserCreated" == contracts.examples("UserCreated")["typical"]["type"]
