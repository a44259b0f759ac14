"""Generates broken copies of a JSON value: each field broken in every way, one at a time."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

FREE_TEXT = {"name", "sku", "subject", "detail", "title", "pointer", "version"}  # any single line is valid
FREE_PAGES = {"text", "html"}  # any lines are valid
TOO_LONG = "x" * 70_000
TOO_MANY = 1_001
WRONG_FORMS = {
    "time": (
        "2026-01-15T09:30:00",
        "2026-01-15T09:30:00+00:00",
        "2026-02-30T09:30:00Z",
        "2026-13-01T09:30:00Z",
        "2026-01-15 09:30:00Z",
        "2026-01-15T24:00:00Z",
        "2026-01-15T09:30:00Z\n",
        "2026-01-15T09:30:00.1234567Z",
    ),
    "email": ("ada", "@example.com", "ada@", "a@b@example.com", "a da@example.com", "ada@example.com\n"),
    "message_id": ("a@b", "<a b@c>", "<a@b>\n", "<a>"),
}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One broken copy of a value, the path of the broken field without indices, and the way."""

    field: str
    way: str
    value: Any


def mutations(value: dict[str, Any]) -> Iterator[Mutation]:
    """Yield a copy of the value for each way to break each field, including nested fields."""
    for path in _paths(value, ()):
        field = ".".join(str(step) for step in path if isinstance(step, str))
        if isinstance(path[-1], str):
            yield Mutation(field, "missing", _without(value, path))
        old = _get(value, path)
        for way, new in _wrong(str(path[-1]), old):
            yield Mutation(field, way, _with(value, path, new))


def _wrong(name: str, old: object) -> Iterator[tuple[str, object]]:
    """Yield each invalid replacement of `old`, with the way in which it is wrong."""
    others: dict[type, object] = {str: "1", int: 1, float: 0.5, bool: True, list: [], dict: {}, type(None): None}
    yield from (("type", other) for kind, other in others.items() if kind is not type(old))
    match old:
        case str():
            yield "value", ""
            yield "value", TOO_LONG
            yield from (("value", wrong) for wrong in _wrong_text(name, old))
        case int():
            yield "value", -1
            yield "value", old + 0.5
            yield "value", 10**15
        case list():
            yield "value", []
            yield "value", old * TOO_MANY
        case dict():
            yield "value", {}


def _wrong_text(name: str, old: str) -> Iterator[str]:
    if name in FREE_PAGES:
        yield " \n"
    elif name in FREE_TEXT:
        yield from (" ", f"{old}\n", f"{old}\x00", f"{old}\u2028")
    else:
        yield from ("\u2603", f"{old}\n", f" {old}", f"{old}\x00", *_wrong_form(name, old))


def _wrong_form(name: str, old: str) -> Iterator[str]:
    if old.count("-") == 4 and len(old) == 36:
        yield from (f"{old[:-1]}A", old.replace("-", ""), "{" + old + "}", f"urn:uuid:{old}", f"{old[:-1]}g")
    elif name in ("time", "pay_before", "sent_at"):
        yield from WRONG_FORMS["time"]
    elif name in ("email", "to"):
        yield from WRONG_FORMS["email"]
        yield "a" * 243 + "@example.com"
    else:
        yield from WRONG_FORMS.get(name, ())


def _paths(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _paths(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _paths(each, (*path, index))


def _get(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    copy = deepcopy(value)
    _get(copy, path[:-1])[path[-1]] = new
    return copy


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    copy = deepcopy(value)
    del _get(copy, path[:-1])[path[-1]]
    return copy
