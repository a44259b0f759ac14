"""The settings of the Order Service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sidecart.chassis import settings

PAY_WITHIN_SECONDS = 900
PAY_WITHIN_SECONDS_MAX = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Settings:
    """`pay_within` is the time after placement in which Billing may charge an order."""

    pay_within: timedelta


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings, or raise SettingError.

    The launcher calls this too, before it starts any process, and passes on the variables it reads.
    """
    seconds = settings.whole(environ, "PAY_WITHIN_SECONDS", 1, PAY_WITHIN_SECONDS_MAX, PAY_WITHIN_SECONDS)
    return Settings(pay_within=timedelta(seconds=seconds))
