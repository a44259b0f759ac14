"""Fill the templates of a project's description from the data of an event or a request.

A template is a text with fields in braces: `{name}`. A format may follow the field:

- `{total:money}`: an integer in minor units of the currency, such as €1,234.56;
- `{id:short}`: the last characters of an id;
- `{reason:words}`: underscores become spaces;
- `{lines:{count} x {title}}`: each object of a list, by an inner template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from string import Formatter
from typing import Any

from babel.numbers import format_currency

from sidecart.chassis.currency import DEFAULT, Currency

MISSING = "?"
LOCALE = "en"
"""The language of the page."""
NUMBER_MAX = 10**15
"""A larger number is shown as missing, because its division may fail."""
OBJECTS_SHOWN = 3
SHORT_CHARACTERS = 8
DEFAULT_FIELDS_MAX = 3
FORMATS = ("", "money", "short", "words")


@cache
def parsed(template: str) -> tuple[tuple[str, str | None, str], ...]:
    """Split a template into (text, field, format) parts; raise ValueError if it is malformed."""
    return tuple((text, field, format_ or "") for text, field, format_, _ in Formatter().parse(template))


def fields_of(template: str) -> list[str]:
    """Return the fields of a template; raise ValueError if it or a format is malformed."""
    found = []
    for _, field, format_ in parsed(template):
        if field is None:
            continue
        if "{" in format_:
            fields_of(format_)
        elif format_ not in FORMATS:
            raise ValueError(f"`{format_}` is not a format: use {', '.join(FORMATS[1:])} or an inner template")
        found.append(field)
    return found


def render(template: str, data: Mapping[str, Any], currency: Currency = DEFAULT) -> str:
    """Fill a template; a missing or unsuitable value becomes a question mark."""
    return "".join(
        text + ("" if field is None else _value(data.get(field), format_, currency))
        for text, field, format_ in parsed(template)
    )


def default_summary(data: Mapping[str, Any]) -> str:
    """Summarize data without a template: its first plain values, or else its ids."""
    plain, ids = [], []
    for name, value in data.items():
        if name == "id" or name.endswith("_id"):
            ids.append(f"{_words(name.removesuffix('_id'))} {_short(value)}")
        elif isinstance(value, str | int) and _number_fits(value):
            plain.append(f"{_words(name)} {value}")
    return ", ".join((plain or ids)[:DEFAULT_FIELDS_MAX])


def _value(value: Any, format_: str, currency: Currency) -> str:
    if "{" in format_:
        return _objects(value, format_, currency) if isinstance(value, list) else MISSING
    if format_ == "money":
        return money(value, currency) if isinstance(value, int) and _number_fits(value) else MISSING
    if isinstance(value, int) and _number_fits(value):
        return str(value)
    if not isinstance(value, str):
        return MISSING
    if format_ == "short":
        return _short(value)
    return _words(value) if format_ == "words" else value


def _objects(values: Iterable[Any], template: str, currency: Currency) -> str:
    objects = [each for each in values if isinstance(each, dict)]
    shown = ", ".join(render(template, each, currency) for each in objects[:OBJECTS_SHOWN])
    more = len(objects) - OBJECTS_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")


def money(minor_units: int, currency: Currency) -> str:
    """Format a sum of money with the currency's symbol."""
    return format_currency(Decimal(minor_units).scaleb(-currency.decimals), currency.code, locale=LOCALE)


def _short(value: Any) -> str:
    """Return the end of an id; a UUIDv7 begins with the time, which neighbors share."""
    return value[-SHORT_CHARACTERS:] if isinstance(value, str) else MISSING


def _number_fits(value: Any) -> bool:
    return not isinstance(value, int) or abs(value) < NUMBER_MAX


def _words(name: str) -> str:
    return name.replace("_", " ")
