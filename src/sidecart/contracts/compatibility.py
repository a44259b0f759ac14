"""Classifies a change of a schema as compatible or breaking, with the reason.

Apps are updated one after the other, and a broker keeps events. So three pairs of versions meet:
old events and new readers, new events and old readers, and each with itself. A change is compatible
if every pair works. Some changes work only if the consumers are updated before the publisher; the
change says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecart.contracts.schemas import ANNOTATIONS, Schema, is_open

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
FORMS = ("pattern", "format", "not", "multipleOf", "uniqueItems", "const", "anyOf", "oneOf", "allOf")
"""Keywords whose values are not wider or narrower: any change may reject what was accepted."""
STRUCTURE = ("properties", "required", "items", "enum", "type", "additionalProperties")
CONSUMERS_FIRST = "update the consumers first"
OLD_EVENTS = "events of the released version, in the broker and in outboxes, become invalid"
OLD_READERS = "readers of the released version reject the new events"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the place, what changed, and for a breaking one the reason."""

    place: str
    what: str
    breaks: str = ""
    note: str = ""

    @property
    def is_breaking(self) -> bool:
        """Whether an app of one version fails with an event of the other."""
        return bool(self.breaks)

    def __str__(self) -> str:
        """Return one line for a report."""
        kind = f"breaking: {self.breaks}" if self.breaks else "compatible" + (f": {self.note}" if self.note else "")
        return f"{self.place}: {self.what} ({kind})"


def schema_changes(old: Schema, new: Schema, place: str) -> Iterator[Change]:
    """Yield the changes between two versions of one expanded schema."""
    yield from _of_type(old, new, place)
    yield from _of_fields(old, new, place)
    yield from _of_values(old, new, place)
    yield from _of_bounds(old, new, place)
    if "items" in old and "items" in new:
        yield from schema_changes(old["items"], new["items"], f"{place}[]")
    elif ("items" in old) != ("items" in new):
        yield Change(place, "the type of the list's entries changed", OLD_EVENTS)
    known = {*LOWER_BOUNDS, *UPPER_BOUNDS, *FORMS, *STRUCTURE, *ANNOTATIONS}
    for keyword in sorted((old.keys() | new.keys()) - known):
        if old.get(keyword) != new.get(keyword):
            yield Change(place, f"`{keyword}` changed", "its effect on old events is unknown")


def _of_type(old: Schema, new: Schema, place: str) -> Iterator[Change]:
    if _types(old) != _types(new):
        yield Change(place, f"the type changed from {old.get('type')} to {new.get('type')}", OLD_EVENTS)
    before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if is_open(before) and after is False:
        yield Change(place, "unknown fields are no longer allowed", "an event of a later version becomes invalid")
    elif is_open(after) and not is_open(before):
        yield Change(place, "unknown fields are allowed now", note=CONSUMERS_FIRST)
    elif not is_open(after) and _text(before) != _text(after):
        yield Change(place, "the form of unknown fields changed", OLD_EVENTS)


def _types(schema: Schema) -> list[str] | None:
    found = schema.get("type")
    return [found] if isinstance(found, str) else None if found is None else sorted(found)


def _text(value: Any) -> str:
    """Return a value as JSON, in which 1 and true differ, as they do not in Python."""
    return json.dumps(value, sort_keys=True)


def _of_fields(old: Schema, new: Schema, place: str) -> Iterator[Change]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
    for name in before.keys() - after.keys():
        yield _removed(f"{place}.{name}", name in needed_before)
    is_closed = old.get("additionalProperties", True) is False
    for name in after.keys() - before.keys():
        yield _added(f"{place}.{name}", name in needed_after, is_closed)
    for name in sorted(needed_after - needed_before - after.keys()):
        yield Change(f"{place}.{name}", "a required field was added", OLD_EVENTS)
    for name in sorted(needed_before - needed_after - before.keys()):
        yield Change(f"{place}.{name}", "a required field became optional", OLD_READERS)
    for name in [each for each in before if each in after]:
        inner = f"{place}.{name}"
        if name in needed_after - needed_before:
            yield Change(inner, "an optional field became required", OLD_EVENTS)
        if name in needed_before - needed_after:
            yield Change(inner, "a required field became optional", OLD_READERS)
        yield from schema_changes(before[name], after[name], inner)


def _removed(place: str, was_required: bool) -> Change:
    if was_required:
        return Change(place, "a required field was removed", OLD_READERS)
    return Change(place, "an optional field was removed", note="never use its name for something else")


def _added(place: str, is_required: bool, is_closed: bool) -> Change:
    if is_required:
        return Change(place, "a required field was added", OLD_EVENTS)
    if is_closed:
        return Change(place, "an optional field was added", f"{OLD_READERS}, because it has an unknown field")
    return Change(place, "an optional field was added", note="readers ignore it until they know it")


def _of_values(old: Schema, new: Schema, place: str) -> Iterator[Change]:
    before, after = old.get("enum"), new.get("enum")
    if before is not None and after is not None:
        if gone := _listed(before, after):
            yield Change(place, f"the values {', '.join(gone)} were removed", OLD_EVENTS)
        if more := _listed(after, before):
            yield Change(place, f"the values {', '.join(more)} were added", note=CONSUMERS_FIRST)
    elif before is not None:
        yield Change(place, "any value is allowed now", note=CONSUMERS_FIRST)
    elif after is not None:
        yield Change(place, f"only the values {', '.join(_listed(after, ()))} are allowed now", OLD_EVENTS)
    for keyword in FORMS:
        if (keyword in old) == (keyword in new) and _text(old.get(keyword)) == _text(new.get(keyword)):
            continue
        if keyword not in new:
            yield Change(place, f"`{keyword}` was removed", note=CONSUMERS_FIRST)
        else:
            yield Change(place, f"`{keyword}` changed from {old.get(keyword)} to {new[keyword]}", OLD_EVENTS)


def _of_bounds(old: Schema, new: Schema, place: str) -> Iterator[Change]:
    for keywords, sign in ((LOWER_BOUNDS, 1), (UPPER_BOUNDS, -1)):
        for keyword in keywords:
            before, after = old.get(keyword), new.get(keyword)
            if before == after:
                continue
            what = f"`{keyword}` changed from {_shown(before)} to {_shown(after)}"
            if after is None or (before is not None and sign * after < sign * before):
                yield Change(place, what, note=CONSUMERS_FIRST)
            else:
                yield Change(place, what, OLD_EVENTS)


def _listed(values: Sequence[Any], without: Sequence[Any]) -> list[str]:
    known = {_text(each) for each in without}
    return [each if isinstance(each, str) and each else _text(each) for each in values if _text(each) not in known]


def _shown(bound: Any) -> str:
    return "none" if bound is None else str(bound)


def topic_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], retired: Mapping[str, str], place: str
) -> Iterator[Change]:
    """Yield the changes between two topic lists; `retired` has the reasons for removed topics."""
    for name in old.keys() - new.keys():
        what = "the topic was removed or renamed"
        if name in retired:
            yield Change(f"{place}: {name}", what, note=f"retired: {retired[name]}")
        else:
            yield Change(f"{place}: {name}", what, "its consumers get no more events; its events find no consumer")
    for name in new.keys() - old.keys():
        yield Change(f"{place}: {name}", "the topic was added", note="its first consumer must run before its publisher")
    for name in [each for each in old if each in new]:
        yield from _of_topic(old[name], new[name], f"{place}: {name}")


def _of_topic(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[Change]:
    if old["publisher"] != new["publisher"]:
        what = f"the publisher changed from {old['publisher']} to {new['publisher']}"
        yield Change(place, what, "the ids of events derive from the publisher, so a repeated event gets another id")
    if old["component"] != new["component"]:
        what = f"the component changed from {old['component']} to {new['component']}"
        yield Change(place, what, "events that wait on the old component find no reader")
    for app_id in [each for each in new["consumers"] if each not in old["consumers"]]:
        yield Change(place, f"the consumer {app_id} was added", note="it gets the events from its first start on")
    for app_id in [each for each in old["consumers"] if each not in new["consumers"]]:
        yield Change(place, f"the consumer {app_id} was removed", note="delete its group or queue at the broker")
