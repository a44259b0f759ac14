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
SUFFIXES = {".py", ".typed", ".js", ".html", ".css", ".svg", ".toml", ".yaml", ".json", ".txt", ".md"}
ALWAYS = ("order", "shop")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word of prose, and a part of a snake_case or CamelCase identifier."""

GENERIC = {
    "create": "the verb of any command",
    "created": "the verb of any event",
    "requested": "the last word of any command's topic",
    "rejected": "the last word of any topic that rejects a command",
    "failed": "the verb of any failure",
    "erase": "the verb of any command that erases a person",
    "erased": "the verb of any event of an erasure, and a status of dead letters",
    "hash": "a keyed hash, of the chassis; a record of Redis",
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

COMMON_TEXT = """
a address at by code count data date description end entry event file for format from group has in index is key kind
label last level limit line list new next note number of old on page part path point position result row rule since
size sort source start state status step sum tag target time title type until url value version wait word
"""
COMMON = frozenset(word.removesuffix("s") for word in COMMON_TEXT.split())
"""Words of any program. A new field of the shop may have one, although the toolkit uses it too."""

PHRASES = {
    "paint-order": "a property of CSS",
    '"email"': "a format of JSON Schema, and a type of HTML inputs",
    "email_verified": "a claim of OpenID Connect",
    "database user password": "names of Dapr's metadata for PostgreSQL",
    "accountKey": "a name of Dapr's metadata for Azure",
    "from email": "a package of Python's standard library",
    "EmailMessage": "a class of Python's standard library",
    "balance first": "a setting of HAProxy",
    "balance leastconn": "a setting of HAProxy",
    "balance roundrobin": "a setting of HAProxy",
    "ORDER BY": "a clause of SQL",
    "entry point": "the start of a program",
    "entry_point": "the start of a program",
    'f"user ': "a line of an access control list of Redis",
    "user default off": "a line of an access control list of Redis",
    '"users"': "a key of RabbitMQ's definitions",
    '"user"': "a key of RabbitMQ's definitions",
    "--map-user": "an option of unshare",
    '"--user"': "an option of redis-cli",
    "POSTGRES_USER": "a variable of PostgreSQL's image",
    "ServiceAccount": "a kind of Kubernetes, and a part of its fields",
    "serviceAccountName": "a field of Kubernetes",
    "runAsUser": "a field of Kubernetes",
}
"""Names of other projects that contain a word of the shop; each has its reason."""


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
    # a single letter is no word: the V of a topic's second version
    return frozenset(word for name in names for word in words(name) if len(word) > 1) - GENERIC.keys() - COMMON


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
    assert not {"gateway", "id", "subject", "created", "code"} & SHOP_WORDS
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

    assert {} == dict(found), name
