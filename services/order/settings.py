"""The settings of the Order Service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.order import price_list
from services.order.price_list import PriceList
from sidecart.chassis import settings

PAY_WITHIN_SECONDS = 900
PAY_WITHIN_SECONDS_MAX = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one replica."""

    pay_within: timedelta
    """The time after placement in which Billing may charge an order."""
    price_list: PriceList


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings, or raise SettingError.

    The launcher calls this too, before it starts any process, and passes on the variables it reads.
    """
    seconds = settings.whole(environ, "PAY_WITHIN_SECONDS", 1, PAY_WITHIN_SECONDS_MAX, PAY_WITHIN_SECONDS)
    file = Path(settings.text(environ, "PRICE_LIST", str(price_list.FILE)))
    try:
        return Settings(timedelta(seconds=seconds), price_list.read(file))
    except price_list.PriceListError as error:
        raise settings.SettingError("PRICE_LIST", str(error)) from error
