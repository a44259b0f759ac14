"""The currency of a system: money is a whole number of its minor units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from babel.numbers import get_currency_precision, list_currencies

from sidecart.chassis.settings import SettingError, text


@dataclass(frozen=True, slots=True)
class Currency:
    """A code of ISO 4217, and the decimals of its minor unit: 2 for EUR, 0 for JPY, 3 for KWD."""

    code: str = "EUR"
    decimals: int = 2


DEFAULT = Currency()


def read(environ: Mapping[str, str]) -> Currency:
    """Return the currency that `CURRENCY` names, or raise SettingError."""
    code = text(environ, "CURRENCY", DEFAULT.code)
    if code not in list_currencies():
        raise SettingError("CURRENCY", f"{code!r} is not the code of a currency in ISO 4217, such as EUR")
    return Currency(code, get_currency_precision(code))
