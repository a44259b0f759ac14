"""Forms are generated from schemas; a description adds titles and values to try."""

from __future__ import annotations

from typing import Any

import pytest

from sidecart.monitor.description import Description, FieldEntry, FormEntry, ResourceEntry
from sidecart.monitor.forms import Field, Form, forms, queries
from sidecart.monitor.gateway_api import UUID, GatewayApi, parse
from tests.unit.monitor.described import DESCRIPTION
from tests.unit.monitor.test_gateway_api import shop_document

RICH: dict[str, Any] = {
    "type": "object",
    "required": ["reader_id", "email", "count", "lines"],
    "properties": {
        "reader_id": {"type": "string", "pattern": f"^{UUID}$"},
        "email": {"type": "string", "format": "email", "maxLength": 254},
        "count": {"type": "integer", "minimum": 1},
        "ratio": {"type": "number", "default": 0.5},
        "is_gift": {"type": "boolean"},
        "size": {"enum": ["small", "large"]},
        "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "lines": {
            "type": "array",
            "items": {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}},
        },
        "to": {"type": "object", "properties": {"street": {"type": "string", "examples": ["Main Street"]}}},
    },
}


def api_of(body: dict[str, Any], path: str = "/loans/create") -> GatewayApi:
    """A gateway with one command and one query."""
    described = {
        "summary": "Lend a book: 201 when lent.",
        "requestBody": {"content": {"application/json": {"schema": body}}},
    }
    identity = {"in": "path", "name": "reader_id", "schema": {"format": "uuid"}}
    paths = {path: {"post": described}, "/readers/{reader_id}": {"get": {"parameters": [identity]}}}
    return parse({"paths": paths})


def form_of(body: dict[str, Any], description: Description | None = None) -> Form:
    """The form of a body."""
    [form] = forms(api_of(body), description or Description())
    return form


def field_of(form: Form, name: str) -> Field:
    """A field of a form by its name."""
    return next(field for field in form.fields if field.name == name)


def test_a_command_has_a_form_without_a_description() -> None:
    """The title is the first part of the summary, the button the last part of the path."""
    form = form_of(RICH)

    assert ("loans-create", "Lend a book", "Create") == (form.id, form.title, form.button)
    assert ((), None) == (form.actions, form.shows)


@pytest.mark.parametrize(
    ("name", "label", "kind", "is_required", "examples"),
    [
        ("reader_id", "Reader", "text", True, ()),
        ("email", "Email", "email", True, ("{random}@example.com",)),
        ("count", "Count", "integer", True, ("1",)),
        ("ratio", "Ratio", "number", False, ("0.5",)),
        ("is_gift", "Is gift", "boolean", False, ("",)),
        ("size", "Size", "choice", False, ("",)),
        ("day", "Day", "date", False, ("",)),
        ("tags.0", "Tags", "text", False, ("",)),
        ("tags.1", "Tags", "text", False, ("",)),
        ("lines.0.title", "Title", "text", True, ("title",)),
        ("to.street", "Street", "text", False, ("Main Street",)),
    ],
)
def test_each_type_has_an_input(name: str, label: str, kind: str, is_required: bool, examples: tuple[str, ...]) -> None:
    """A required field has a plausible value, so that a form can be sent at once."""
    field = field_of(form_of(RICH), name)

    assert (label, kind, is_required, examples) == (field.label, field.kind, field.is_required, field.examples)


def test_details_of_inputs_come_from_the_schema() -> None:
    """Length, choices, the row of nested fields, and the id that a field has."""
    form = form_of(RICH)

    assert 254 == field_of(form, "email").characters_max
    assert ("small", "large") == field_of(form, "size").choices
    assert ("lines.0", "to", "") == tuple(field_of(form, each).row for each in ("lines.0.title", "to.street", "count"))
    assert "reader_id" == field_of(form, "reader_id").resource
    assert 11 == len(form.fields)


def test_a_described_resource_is_selected_by_its_name() -> None:
    """The selection has the resources that the page knows."""
    description = Description(resources={"reader_id": ResourceEntry(title="Reader", label="{name}")})
    field = field_of(form_of(RICH, description), "reader_id")
    [query] = queries(api_of(RICH), description)

    assert ("resource", "reader_id") == (field.kind, field.resource)
    assert [("reader_id", "resource", "Reader")] == [(each.name, each.kind, each.label) for each in query.fields]


def test_a_description_adds_titles_values_and_a_sequence() -> None:
    """Its fields come first, in its sequence; the others follow as in the schema."""
    fields = {"count": FieldEntry(label="Number", examples=["4.50"], money=True), "email": FieldEntry()}
    entry = FormEntry(title="Borrow", button="Go", fields=fields)
    form = form_of(RICH, Description(forms={"/loans/create": entry}))
    count = field_of(form, "count")

    assert ("Borrow", "Go", ["count", "email", "reader_id"]) == (
        form.title,
        form.button,
        [field.name for field in form.fields][:3],
    )
    assert ("Number (EUR)", ("4.50",), 2) == (count.label, count.examples, count.decimals)


def test_a_schema_that_contains_itself_ends() -> None:
    """Fields of deeper objects are left out."""
    node = {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/x/Node"}}}
    command = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/x/Node"}}}}}
    api = parse({"paths": {"/nodes": {"post": command}}, "components": {"schemas": {"Node": node}}})
    [form] = forms(api, Description())

    assert ["name", "next.name"] == [field.name for field in form.fields][:2]
    assert 10 > len(form.fields)


def test_the_shops_forms_need_its_description_for_values_only() -> None:
    """Each entry of the description belongs to a command, a query or a field."""
    api = parse(shop_document())
    plain, described = forms(api, Description()), forms(api, DESCRIPTION)

    assert [(each.path, {field.name for field in each.fields}) for each in plain] == [
        (each.path, {field.name for field in each.fields}) for each in described
    ]
    by_path = {form.path: form for form in described}
    for path, entry in DESCRIPTION.forms.items():
        names = {field.name for field in by_path[path].fields}
        assert set(entry.fields) <= {name.rpartition(".")[2] for name in names}
        assert {field for action in entry.actions for field in action.set} <= names
    paths = {query.path for query in api.queries}
    assert {panel.read for panel in DESCRIPTION.panels} <= paths
    assert {flow.path for flow in DESCRIPTION.flows} <= by_path.keys()
