"""Generate the page's forms from the gateway's calls and the project's description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sidecart.chassis.currency import DEFAULT, Currency
from sidecart.monitor.description import ActionEntry, Description, FieldEntry, FormEntry, ShownValue
from sidecart.monitor.gateway_api import UUID, GatewayApi, Operation, Schema

ELEMENTS_MAX = 5
"""Elements of a list in a form."""
DEPTH_MAX = 4
"""Objects and lists inside each other; fields below are left out."""
RANDOM_ADDRESS = "{random}@example.com"
KINDS = {"integer": "integer", "number": "number", "boolean": "boolean"}
FORMATS = {"email": "email", "date": "date", "uri": "url"}
NO_FIELD, NO_FORM = FieldEntry(), FormEntry()


@dataclass(frozen=True, slots=True)
class Field:
    """One input."""

    name: str
    """Its place in the body: `lines.0.size` is a field of the first element of a list."""
    label: str
    kind: str
    """resource (a known one), choice, boolean, integer, number, text, or a type of HTML."""
    is_required: bool
    examples: tuple[str, ...]
    decimals: int = 0
    """The field is sent as an integer: of 12.34 with two decimals, 1234."""
    choices: tuple[str, ...] = ()
    resource: str = ""
    """The name of the id, if the field is the id of a resource."""
    characters_max: int | None = None
    row: str = ""
    """Fields of one row stand side by side."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of one command."""

    id: str
    path: str
    title: str
    button: str
    fields: tuple[Field, ...]
    actions: tuple[ActionEntry, ...]
    shows: ShownValue | None


@dataclass(frozen=True, slots=True)
class Query:
    """A read of one resource, with a field for each parameter of its path."""

    path: str
    summary: str
    fields: tuple[Field, ...]


def words(name: str) -> str:
    """Return a name in words, such as `Unit size` for unit_size and `Owner` for owner_id."""
    return name.removesuffix("_id").replace("_", " ").replace("-", " ").strip().capitalize()


def forms(api: GatewayApi, description: Description, currency: Currency = DEFAULT) -> list[Form]:
    """Return a form for each command, in the sequence of the gateway's document."""
    return [_form(api, description, each, currency) for each in api.commands]


def queries(api: GatewayApi, description: Description) -> list[Query]:
    """Return the reads, in the sequence of the gateway's document."""
    known = description.resources
    return [
        Query(
            each.path, each.summary, tuple(_id_field(name, name, NO_FIELD, name in known) for name in each.parameters)
        )
        for each in api.queries
    ]


def _form(api: GatewayApi, description: Description, command: Operation, currency: Currency) -> Form:
    entry = description.forms.get(command.path, NO_FORM)
    segments = command.path.strip("/").split("/")
    fields = _fields(api, description, entry, command.body or {}, ())
    found = tuple(_in_currency(each, currency) if _is_money(entry, each) else each for each in fields)
    return Form(
        id="-".join(segments),
        path=command.path,
        title=entry.title or command.summary.partition(":")[0].rstrip(".") or f"POST {command.path}",
        button=entry.button or words(segments[-1]),
        fields=found,
        actions=tuple(entry.actions),
        shows=entry.shows,
    )


def _is_money(entry: FormEntry, field: Field) -> bool:
    return entry.fields.get(field.name.rpartition(".")[2], NO_FIELD).money


def _in_currency(field: Field, currency: Currency) -> Field:
    return replace(field, label=f"{field.label} ({currency.code})", decimals=currency.decimals)


def _fields(
    api: GatewayApi, description: Description, entry: FormEntry, schema: Schema, place: tuple[str, ...], row: str = ""
) -> Iterator[Field]:
    """Yield the fields of an object, those of inner objects and lists included."""
    required, sequence = schema.get("required", []), list(entry.fields)
    described = sorted(
        schema.get("properties", {}).items(),
        key=lambda each: sequence.index(each[0]) if each[0] in sequence else len(sequence),
    )
    for name, reference in described:
        inner, at = api.resolved(reference), (*place, name)
        if len(at) > DEPTH_MAX * 2:
            continue
        if inner.get("type") == "object":
            yield from _fields(api, description, entry, inner, at, ".".join(at))
        elif inner.get("type") == "array":
            element = api.resolved(inner.get("items", {}))
            for number in range(min(max(1, inner.get("minItems", 1)), ELEMENTS_MAX)):
                each = (*at, str(number))
                if element.get("type") == "object":
                    yield from _fields(api, description, entry, element, each, ".".join(each))
                else:
                    yield _field(
                        description, entry.fields.get(name, NO_FIELD), element, each, name, row, name in required
                    )
        else:
            yield _field(description, entry.fields.get(name, NO_FIELD), inner, at, name, row, name in required)


def _field(
    description: Description,
    entry: FieldEntry,
    schema: Schema,
    place: tuple[str, ...],
    name: str,
    row: str,
    is_required: bool,
) -> Field:
    at = ".".join(place)
    if name in description.resources or _is_uuid(schema):
        return _id_field(at, name, entry, name in description.resources, row, is_required)
    choices = tuple(each for each in schema.get("enum", ()) if isinstance(each, str))
    kind = "choice" if choices else KINDS.get(schema.get("type", ""), FORMATS.get(schema.get("format", ""), "text"))
    return Field(
        at,
        entry.label or words(name),
        kind,
        is_required,
        tuple(entry.examples) or (_example(schema, kind, name, is_required),),
        choices=choices,
        characters_max=schema.get("maxLength"),
        row=row,
    )


def _id_field(
    place: str, name: str, entry: FieldEntry, is_described: bool, row: str = "", is_required: bool = True
) -> Field:
    kind = "resource" if is_described else "text"
    return Field(place, entry.label or words(name), kind, is_required, tuple(entry.examples), resource=name, row=row)


def _is_uuid(schema: Schema) -> bool:
    return schema.get("format") == "uuid" or str(schema.get("pattern", "")).strip("^$") == UUID


def _example(schema: Schema, kind: str, name: str, is_required: bool) -> str:
    """Return the schema's own example or default, or a value that fits its type."""
    own: list[Any] = [*schema.get("examples", []), *([schema["default"]] if "default" in schema else [])]
    if own or not is_required:
        return str(own[0]) if own and own[0] is not None else ""
    if kind in ("integer", "number"):
        return str(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
    return {"email": RANDOM_ADDRESS, "text": words(name).lower()}.get(kind, "")
