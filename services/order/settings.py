"""The settings that only this service has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from chassis import settings

PAY_WITHIN_SECONDS = 900
PAY_WITHIN_SECONDS_MAX = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Settings:
    """How long after an order its payment may be taken."""

    pay_within: timedelta


def read(environ: Mapping[str, str]) -> Settings:
    """Read them; the launcher does so too, before it starts anything, and hands on what is read here."""
    seconds = settings.whole(environ, "PAY_WITHIN_SECONDS", 1, PAY_WITHIN_SECONDS_MAX, PAY_WITHIN_SECONDS)
    return Settings(pay_within=timedelta(seconds=seconds))
