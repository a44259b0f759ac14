"""AsyncAPI's own parser (npm's `@asyncapi/parser`) reads the document, and finds what is wrong with a broken one."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from cli.deadline import Deadline
from cli.programs import cache_folder, locked
from gateway import asyncapi

FOLDER = Path(__file__).parent / "asyncapi"
SECONDS_MAX = 600  # 170 packages, from a registry that may be slow; 15 s where it is not
REQUESTED = "gateway-sends-UserCreateRequested-for-UserCreated"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def program() -> Path:
    """The program beside its packages, as the lock file names them; kept under the checksum of what asks for them."""
    files = sorted(path for path in FOLDER.iterdir() if path.is_file())
    asked = hashlib.sha256(b"\0".join(part for path in files for part in (path.name.encode(), path.read_bytes())))
    folder = cache_folder() / f"asyncapi-{asked.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", "the AsyncAPI parser", lambda _: None, Deadline()):
        if not (folder / "installed").exists():
            for path in files:
                shutil.copy(path, folder)
            done = subprocess.run(
                ["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
            )
            assert 0 == done.returncode, done.stdout + done.stderr
            (folder / "installed").touch()
    return folder / "validate.mjs"


def judged(program: Path, document: bytes) -> tuple[int, list[Any]]:
    """What the program returns, and the warnings and errors that it prints."""
    done = subprocess.run(["node", str(program)], input=document, capture_output=True, timeout=SECONDS_MAX, check=False)
    assert done.stdout, done.stderr
    return done.returncode, [each for each in json.loads(done.stdout) if each["severity"] in ("error", "warning")]


def test_the_document_that_is_served_is_one(program: Path) -> None:
    """No error and no warning; that there is a later version of AsyncAPI is only said."""
    assert (0, []) == judged(program, asyncapi.served("Sidecart", "1"))


def without_a_message(document: Document) -> None:
    """A channel and what refers to it miss it."""
    del document["components"]["messages"]["UserCreated"]


def without_a_schema(document: Document) -> None:
    """Each amount of money is of no type."""
    del document["components"]["schemas"]["cents"]


def without_the_reply(document: Document) -> None:
    """Whoever asks waits for what never comes."""
    del document["channels"]["UserCreated"]


def with_the_message_of_another_channel(document: Document) -> None:
    """It is there, but not on this topic."""
    other = {"$ref": "#/channels/OrderPaid/messages/OrderPaid"}
    document["operations"][REQUESTED]["messages"] = [other]


def with_an_action_that_is_none(document: Document) -> None:
    """As AsyncAPI 2 had it."""
    document["operations"][REQUESTED]["action"] = "publish"


def with_a_correlation_id_nowhere(document: Document) -> None:
    """A location is in the header or the payload of a message."""
    document["components"]["correlationIds"]["command"]["location"] = "correlationid"


@pytest.mark.parametrize(
    ("breaks", "code", "where"),
    [
        (without_a_message, "invalid-ref", "UserCreated"),
        (without_a_schema, "invalid-ref", "amount_cents"),
        (without_the_reply, "invalid-ref", f"{REQUESTED}/reply/channel"),
        (with_the_message_of_another_channel, "asyncapi3-operation-messages-from-referred-channel", REQUESTED),
        (with_an_action_that_is_none, "asyncapi-document-resolved", f"{REQUESTED}/action"),
        (with_a_correlation_id_nowhere, "asyncapi-document-resolved", "correlationId/location"),
    ],
)
def test_a_broken_document_is_refused(program: Path, breaks: Callable[[Document], None], code: str, where: str) -> None:
    """The check can fail: each fault is found where it is."""
    document = deepcopy(json.loads(asyncapi.served("Sidecart", "1")))
    breaks(document)

    status, found = judged(program, json.dumps(document).encode())

    assert 1 == status
    assert [] != [each for each in found if each["code"] == code and where in each["path"] + each["message"]]


def test_what_is_no_document_is_refused(program: Path) -> None:
    """Nothing at all has no diagnostics that one could count."""
    assert [1, 1] == [judged(program, each)[0] for each in (b"{}", b"null")]


def test_the_lock_file_names_no_registry() -> None:
    """Each package has its checksum, and comes from where npm is told to look."""
    packages = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))["packages"]
    installed = {name: each for name, each in packages.items() if name}

    assert len(installed) > 100
    assert [] == [name for name, each in installed.items() if "resolved" in each or "integrity" not in each]
