"""Templates are filled for any content of the data."""

from __future__ import annotations

import pytest

from sidecart.monitor.templates import default_summary, fields_of, render


@pytest.mark.parametrize(
    ("template", "data", "output"),
    [
        ("{name}, {size}", {"name": "tea", "size": 3}, "tea, 3"),
        ("{total:money}", {"total": 123456}, "€1,234.56"),
        ("{total:money}", {"total": -5}, "-€0.05"),
        ("{id:short}", {"id": "019bc0fd-89c0-78c9-9e0d-a0c3d985694a"}, "d985694a"),
        ("{reason:words}", {"reason": "too_late"}, "too late"),
        ("of {owner.name}", {"owner.name": "Ada"}, "of Ada"),
        ("{lines:{count} x {title}}", {"lines": [{"count": 2, "title": "tea"}, 7]}, "2 x tea"),
        ("{lines:{count}}", {"lines": [{"count": each} for each in range(5)]}, "0, 1, 2 and 2 more"),
    ],
)
def test_a_template_is_filled(template: str, data: dict[str, object], output: str) -> None:
    """Each format has its own text."""
    assert output == render(template, data)


@pytest.mark.parametrize("value", [None, [], {}, 1.5, 10**400])
@pytest.mark.parametrize("template", ["{a}", "{a:money}", "{a:short}", "{a:words}"])
def test_an_unsuitable_value_becomes_a_question_mark(template: str, value: object) -> None:
    """Services validate events; the page shows all events, and a failure would end the tap."""
    assert "?" == render(template, {"a": value})
    assert "?" == render(template, {})


def test_a_list_of_another_type_becomes_a_question_mark() -> None:
    """The publisher may send text instead of a list."""
    assert "?" == render("{lines:{count}}", {"lines": "many"})


@pytest.mark.parametrize("template", ["{a", "{a:cube}", "{lines:{count:cube}}"])
def test_a_malformed_template_is_refused(template: str) -> None:
    """The start of the page reports it, not the first event."""
    with pytest.raises(ValueError, match=r"cube|expected"):
        fields_of(template)


def test_data_without_a_template_is_summarized() -> None:
    """Ids and nested values are left out, and three values are enough."""
    data = {"id": "i", "user_id": "u", "paid": "yes", "big": 10**400, "lines": [], "point_count": 9, "a": "b", "c": "d"}

    assert "paid yes, point count 9, a b" == default_summary(data)


def test_ids_summarize_data_without_a_plain_value() -> None:
    """The end of an id tells two resources apart."""
    data = {"user_id": "019bc0fd-89c0-78c9-9e0d-a0c3d985694a", "lines": []}

    assert "user d985694a" == default_summary(data)
    assert "" == default_summary({})
