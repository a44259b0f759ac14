"""The description of the page for the browser: lifelines, panels and forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecart.chassis.currency import DEFAULT, Currency
from sidecart.launcher.topics import GATEWAY
from sidecart.monitor.description import Description
from sidecart.monitor.flow import BROKER, CLIENT, MAIL
from sidecart.monitor.forms import Form, Query, forms, queries
from sidecart.monitor.gateway_api import GatewayApi

TITLES = {GATEWAY: "Gateway", BROKER: "Message Broker"}

NO_DOCUMENT = "The gateway returned no OpenAPI document. Reload the page when it is ready."
NO_FORMS = "The forms are off, because the gateway accepts the tokens of another issuer only."


@dataclass(frozen=True, slots=True)
class Lifeline:
    """One column of the diagram."""

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Page:
    """All that the browser needs besides the state."""

    lifelines: list[Lifeline]
    actions: Mapping[str, Mapping[str, str]]
    """The consumers' own actions, by topic and app-id."""
    mail: Mapping[str, str] | None
    """The label of a mail's arrow, and the text without mails."""
    none: str
    """The text without a flow."""
    resources: Mapping[str, Mapping[str, str]]
    """Title and the text of an empty selection, by the id's name."""
    panels: list[Any]
    currency: Currency
    forms: list[Form]
    queries: list[Query]
    problem: str
    """Why there are no forms, empty if there are."""
    asks_token: bool
    """Whether an action on a dead letter needs the token of an operator."""


def lifelines(app_ids: Iterable[str], description: Description) -> list[Lifeline]:
    """Return the columns: the caller, the gateway, the broker, the apps of dapr.yaml, the mails."""
    services = [each for each in app_ids if each != GATEWAY]
    titles = {CLIENT: description.client, **{each: _title(each) for each in services}, **TITLES, **description.titles}
    found = [Lifeline(key, titles[key]) for key in (CLIENT, GATEWAY, BROKER, *services)]
    mail = description.mail
    return found if mail is None else [*found, Lifeline(MAIL, mail.lifeline)]


def page(
    app_ids: Iterable[str],
    description: Description,
    api: GatewayApi | None,
    currency: Currency = DEFAULT,
    has_forms: bool = True,
) -> Page:
    """Return the page.

    Without the gateway's calls, or without tokens for them, it has no forms and says so.
    """
    known, mail = api if api and has_forms else GatewayApi(), description.mail
    return Page(
        lifelines=lifelines(app_ids, description),
        actions={topic: event.actions for topic, event in description.events.items() if event.actions},
        mail=None if mail is None else {"label": mail.label, "none": mail.none},
        none=description.none,
        resources={kind: {"title": each.title, "none": each.none} for kind, each in description.resources.items()},
        panels=description.panels if has_forms else [],
        currency=currency,
        forms=forms(known, description, currency),
        queries=queries(known, description),
        problem=NO_FORMS if not has_forms else "" if api else NO_DOCUMENT,
        asks_token=not has_forms,
    )


def _title(app_id: str) -> str:
    """Return the title of a service, such as `Loan Desk Service` for loan-desk."""
    return " ".join(word.capitalize() for word in [*app_id.replace("_", "-").split("-"), "service"])
