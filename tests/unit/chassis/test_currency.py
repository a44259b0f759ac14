"""The currency is read once, and a wrong code is an error."""

import pytest

from sidecart.chassis.currency import Currency, read
from sidecart.chassis.settings import SettingError


@pytest.mark.parametrize(
    ("environ", "currency"),
    [
        ({}, Currency("EUR", 2)),
        ({"CURRENCY": ""}, Currency("EUR", 2)),
        ({"CURRENCY": "JPY"}, Currency("JPY", 0)),
        ({"CURRENCY": "KWD"}, Currency("KWD", 3)),
    ],
)
def test_the_decimals_are_those_of_the_currency(environ: dict[str, str], currency: Currency) -> None:
    """ISO 4217 defines the decimals of each minor unit."""
    assert currency == read(environ)


@pytest.mark.parametrize("code", ["eur", "EURO", "€", "XYZ"])
def test_a_wrong_code_is_named(code: str) -> None:
    """The error has the setting and an example."""
    with pytest.raises(SettingError, match=r"CURRENCY.*is not the code of a currency in ISO 4217, such as EUR"):
        read({"CURRENCY": code})
