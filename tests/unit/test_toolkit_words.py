"""The toolkit contains no word of the shop: not in code, comments, docstrings, or on the page.

The words come from the sources of the topology, so that a new app or event brings its words along.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecart.launcher.project import root
from sidecart.launcher.topics import CONTRACTS, read_topics, service_ids

TOOLKIT = root() / "src" / "sidecart"
SUFFIXES = {".py", ".js", ".html", ".css", ".svg", ".toml", ".yaml", ".json", ".txt", ".md"}
ALWAYS = ("order", "shop")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word of prose, and a part of a snake_case or CamelCase identifier."""

GENERIC = {
    "create": "the verb of any command",
    "created": "the verb of any event",
    "requested": "the last word of any command's topic",
    "rejected": "the last word of any topic that rejects a command",
    "failed": "the verb of any failure",
    "not": "a word of every text",
    "before": "a word of every text",
    "to": "a word of every text, and a header of mails",
    "id": "an attribute of CloudEvents",
    "subject": "an attribute of CloudEvents, and a header of mails",
    "reason": "a field of every dead letter and of every rejection",
    "name": "a field of everything that has a name",
    "message": "a message of a broker or a mail",
    "text": "the type of a value",
    "html": "the format of the live page",
    "item": "`items` of a dictionary, of JSON Schema and of CSS; `setItem` of a browser's storage",
    "unit": "a unit of measurement; a unit test",
}
"""Words of topics and fields that any project uses; each has its reason."""

PHRASES = {
    "paint-order": "a property of CSS",
    '"email"': "a format of JSON Schema, and a type of HTML inputs",
    "database user password": "names of Dapr's metadata for PostgreSQL",
    "accountKey": "a name of Dapr's metadata for Azure",
    "from email": "a package of Python's standard library",
    "EmailMessage": "a class of Python's standard library",
    "balance leastconn": "a setting of HAProxy",
    "balance roundrobin": "a setting of HAProxy",
    "ORDER BY": "a clause of SQL",
}
"""Names of other projects that contain a word of the shop; each has its reason."""

NOT_YET = {
    "src/sidecart/chassis/connections.py": 1,
    "src/sidecart/chassis/events.py": 1,
    "src/sidecart/chassis/fields.py": 4,
    "src/sidecart/chassis/processor.py": 2,
    "src/sidecart/chassis/record_cache.py": 2,
    "src/sidecart/chassis/sidecar.py": 1,
    "src/sidecart/chassis/store.py": 1,
    "src/sidecart/chassis/telemetry/logs.py": 3,
    "src/sidecart/chassis/telemetry/repeats.py": 1,
    "src/sidecart/cli/__init__.py": 1,
    "src/sidecart/cli/__main__.py": 2,
    "src/sidecart/cli/arguments.py": 4,
    "src/sidecart/cli/commands.py": 5,
    "src/sidecart/cli/dead_letter_commands.py": 8,
    "src/sidecart/cli/logs.py": 4,
    "src/sidecart/cli/reconcile.py": 10,
    "src/sidecart/cli/reset.py": 3,
    "src/sidecart/cli/run.py": 65,
    "src/sidecart/cli/status.py": 28,
    "src/sidecart/cli/stop.py": 3,
    "src/sidecart/edge/declarations.py": 1,
    "src/sidecart/edge/ids.py": 1,
    "src/sidecart/edge/journal.py": 1,
    "src/sidecart/edge/pending_commands.py": 1,
    "src/sidecart/edge/pending_index.py": 1,
    "src/sidecart/edge/reconciler.py": 1,
    "src/sidecart/edge/repeat_window.py": 3,
    "src/sidecart/launcher/blocking_errors.py": 3,
    "src/sidecart/launcher/daprd.py": 3,
    "src/sidecart/launcher/data_version.py": 1,
    "src/sidecart/launcher/dead_letters.py": 1,
    "src/sidecart/launcher/environment.py": 3,
    "src/sidecart/launcher/errors.py": 1,
    "src/sidecart/launcher/lifecycle/settings.py": 2,
    "src/sidecart/launcher/lifecycle/shop.py": 15,
    "src/sidecart/launcher/lifecycle/supervisor.py": 22,
    "src/sidecart/launcher/monitor.py": 3,
    "src/sidecart/launcher/ports.py": 2,
    "src/sidecart/launcher/processes.py": 3,
    "src/sidecart/launcher/project.py": 1,
    "src/sidecart/launcher/proxy.py": 1,
    "src/sidecart/launcher/rotation.py": 1,
    "src/sidecart/launcher/runfile.py": 6,
    "src/sidecart/launcher/servers/addresses.py": 1,
    "src/sidecart/launcher/servers/mailcatcher.py": 4,
    "src/sidecart/launcher/servers/postgres.py": 18,
    "src/sidecart/launcher/servers/rabbitmq.py": 4,
    "src/sidecart/launcher/servers/registry.py": 3,
    "src/sidecart/launcher/servers/valkey.py": 1,
    "src/sidecart/launcher/sidecar.py": 2,
    "src/sidecart/launcher/topics.py": 2,
    "src/sidecart/launcher/topology.py": 1,
    "src/sidecart/testkit/tap.py": 23,
}
"""Files with words of the shop, and how many: they wait for their change.

An entry may shrink or go, never grow.
"""


def words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case and in singular, with identifiers split."""
    return (found.lower().removesuffix("s") for found in WORD.findall(text))


def fields(schema: Any) -> Iterator[str]:
    """Yield the names of the properties of a schema and of the schemas in it."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for each in schema.values():
            yield from fields(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from fields(each)


def data_fields() -> set[str]:
    """Return the fields of all events, without the attributes of the envelope."""
    contracts = root() / CONTRACTS
    common = json.loads((contracts / "common.json").read_text(encoding="utf-8"))["$defs"]
    shared = {name: each for name, each in common.items() if name != "envelope"}
    events = [
        json.loads((contracts / "schemas" / f"{topic}.json").read_text(encoding="utf-8")) for topic in read_topics()
    ]
    return {name for each in (shared, *(event["properties"]["data"] for event in events)) for name in fields(each)}


def shop_words() -> frozenset[str]:
    """Return the words of the apps, the topics and their fields, except the generic ones."""
    names = [*service_ids(), *read_topics(), *data_fields(), *ALWAYS]
    return frozenset(word for name in names for word in words(name)) - GENERIC.keys()


SHOP_WORDS = shop_words()


def found_in(text: str) -> Counter[str]:
    """Return the shop's words in a text, with their numbers."""
    for phrase in PHRASES:
        text = text.replace(phrase, "")
    return Counter(word for word in words(text) if word in SHOP_WORDS)


def files() -> dict[str, Path]:
    """Return the text files of the toolkit by their path in the project."""
    paths = (path for path in sorted(TOOLKIT.rglob("*")) if path.suffix in SUFFIXES and "__pycache__" not in path.parts)
    return {str(path.relative_to(root())): path for path in paths}


FILES = files()


def test_the_words_come_from_every_source() -> None:
    """Apps, topics, fields and fields of elements have words; generic ones are left out."""
    assert {"user", "billing", "notification", "order", "shop", "email", "payment", "paid", "sku", "cent"} <= SHOP_WORDS
    assert not {"gateway", "id", "subject", "created"} & SHOP_WORDS
    used = {word for name in (*service_ids(), *read_topics(), *data_fields()) for word in words(name)}
    assert [] == sorted(GENERIC.keys() - used), "delete these words, which no topic and no field uses"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class OrderPaid: pass", ["order", "paid"]),
        ("def read_users(): ...", ["user"]),
        ("// The shop's page", ["shop"]),
        ("border: 1px; reordered; a username", []),
        ('stroke; paint-order: stroke; type="email"', []),
        ("ORDER_ID = 1", ["order"]),
    ],
)
def test_words_are_found_in_identifiers_and_prose(text: str, found: list[str]) -> None:
    """A word counts in an identifier and in prose, but not inside another word."""
    assert found == sorted(found_in(text))


def test_every_file_is_searched() -> None:
    """No kind of text file of the toolkit is left out."""
    kinds = {path.suffix for path in TOOLKIT.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    assert set() == kinds - SUFFIXES
    assert {"src/sidecart/monitor/static/index.html", "src/sidecart/chassis/processor.py"} <= FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_the_toolkit_has_no_word_of_the_shop(name: str) -> None:
    """Reword the text, rename the file, or move what only the shop needs to `shop/`."""
    found = found_in(FILES[name].read_text(encoding="utf-8")) + found_in(name.removeprefix("src/sidecart/"))

    assert found.total() <= NOT_YET.get(name, 0), f"{name}: {dict(found)}"


def test_the_exceptions_shrink() -> None:
    """A file without a word of the shop needs no entry."""
    clean = {name for name, path in FILES.items() if not found_in(path.read_text(encoding="utf-8"))}

    assert [] == sorted(name for name in NOT_YET if name in clean or name not in FILES), "delete these entries"
