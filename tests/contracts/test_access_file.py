"""The calls that containers allow are the gateway's reads."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.queries import QUERIES
from sidecart.launcher.access_control import FILE, file_text, operations_of
from sidecart.launcher.apps import read_apps
from sidecart.launcher.consistency import application_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.service_code import read_services

CONTROL: dict[str, Any] = yaml.safe_load((root() / FILE).read_text(encoding="utf-8"))["spec"]["accessControl"]


def test_the_file_is_up_to_date() -> None:
    """The sidecars of the containers read it."""
    assert file_text(application_of(read_apps())) == (root() / FILE).read_text(encoding="utf-8"), (
        f"{FILE} is old: run `./sidecart scopes`"
    )


def test_every_caller_but_the_gateway_is_denied() -> None:
    """The gateway may only read."""
    [policy] = CONTROL["policies"]

    assert ("deny", "public") == (CONTROL["defaultAction"], CONTROL["trustDomain"])
    assert ("gateway", "deny", "public", "default") == tuple(
        policy[name] for name in ("appId", "defaultAction", "trustDomain", "namespace")
    )
    assert {(("GET",), "allow")} == {(tuple(each["httpVerb"]), each["action"]) for each in policy["operations"]}


def test_the_allowed_routes_are_those_that_the_services_answer() -> None:
    """Each GET route of a service begins with an allowed one, and each allowed one is needed."""
    allowed = {each["name"] for each in CONTROL["policies"][0]["operations"]}
    reads = {path for code in read_services(read_apps()).values() for path in code.reads or ()}

    assert set(operations_of(["/readyz", *reads])) == allowed
    assert set(operations_of(query.path for query in QUERIES)) <= allowed


def test_a_path_must_begin_with_a_name() -> None:
    """The pattern of any other path would allow all paths, also those of events."""
    with pytest.raises(LaunchError, match="must not begin with a parameter"):
        operations_of(["/{user_id}"])
