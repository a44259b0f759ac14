"""Tests of the AsyncAPI document with AsyncAPI's own parser (npm's `@asyncapi/parser`)."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from gateway.app import SHOP
from sidecart.edge import asyncapi
from tests.full.node_packages import SECONDS_MAX, installed, locked_packages, unsafe

DOCUMENT = json.dumps(asyncapi.document(SHOP, "1"), ensure_ascii=False).encode()
FOLDER = Path(__file__).parent / "asyncapi"
REQUESTED = "gateway-sends-UserCreateRequested-for-UserCreated"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def program() -> Path:
    """Install the validator with the locked packages."""
    return installed(FOLDER) / "validate.mjs"


def judged(program: Path, document: bytes) -> tuple[int, list[Any]]:
    """Return the validator's exit code, and the warnings and errors that it prints."""
    done = subprocess.run(["node", str(program)], input=document, capture_output=True, timeout=SECONDS_MAX, check=False)
    assert done.stdout, done.stderr
    return done.returncode, [each for each in json.loads(done.stdout) if each["severity"] in ("error", "warning")]


def test_the_served_document_is_valid(program: Path) -> None:
    """The parser reports no error and no warning; a newer AsyncAPI version is information only."""
    assert (0, []) == judged(program, DOCUMENT)


def without_a_message(document: Document) -> None:
    """Remove a message that a channel refers to."""
    del document["components"]["messages"]["UserCreated"]


def without_a_schema(document: Document) -> None:
    """Remove the type of all amounts of money."""
    del document["components"]["schemas"]["cents"]


def without_the_reply(document: Document) -> None:
    """Remove the channel of a reply."""
    del document["channels"]["UserCreated"]


def with_the_message_of_another_channel(document: Document) -> None:
    """Refer to a message of another channel."""
    other = {"$ref": "#/channels/OrderPaid/messages/OrderPaid"}
    document["operations"][REQUESTED]["messages"] = [other]


def with_an_invalid_action(document: Document) -> None:
    """Use an action of AsyncAPI 2."""
    document["operations"][REQUESTED]["action"] = "publish"


def with_a_correlation_id_nowhere(document: Document) -> None:
    """Use a correlation id whose location is neither in the header nor in the payload."""
    document["components"]["correlationIds"]["command"]["location"] = "correlationid"


@pytest.mark.parametrize(
    ("breaks", "code", "where"),
    [
        (without_a_message, "invalid-ref", "UserCreated"),
        (without_a_schema, "invalid-ref", "amount_cents"),
        (without_the_reply, "invalid-ref", f"{REQUESTED}/reply/channel"),
        (with_the_message_of_another_channel, "asyncapi3-operation-messages-from-referred-channel", REQUESTED),
        (with_an_invalid_action, "asyncapi-document-resolved", f"{REQUESTED}/action"),
        (with_a_correlation_id_nowhere, "asyncapi-document-resolved", "correlationId/location"),
    ],
)
def test_a_broken_document_is_rejected(
    program: Path, breaks: Callable[[Document], None], code: str, where: str
) -> None:
    """The validator reports each planted defect at its place."""
    document = deepcopy(json.loads(DOCUMENT))
    breaks(document)

    status, found = judged(program, json.dumps(document).encode())

    assert 1 == status
    assert [] != [each for each in found if each["code"] == code and where in each["path"] + each["message"]]


def test_a_non_document_is_rejected(program: Path) -> None:
    """The validator fails on input without diagnostics, too."""
    assert [1, 1] == [judged(program, each)[0] for each in (b"{}", b"null")]


def test_the_lock_file_contains_no_registry() -> None:
    """Each package has a checksum and no URL, so that npm uses its configured registry."""
    assert len(locked_packages(FOLDER)) > 100
    assert [] == unsafe(FOLDER)
