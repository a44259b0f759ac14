"""DELETE of a person: who may call it, its responses, and what the gateway itself forgets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.edge.callers import Caller, Callers, forbidden
from sidecart.edge.erasures_api import UNKNOWN, require_own
from sidecart.edge.problems import Problem
from sidecart.edge.rate_limits import CallerLimits
from tests.unit.edge.test_app import USER, Gateway, run
from tests.unit.edge.test_callers import Verifier, ask

HASH = "ab" * 32
KNOWN = Answer(200, json.dumps({"user_id": USER, "address_hash": HASH, "more": 1}).encode())


def known(gateway: Gateway, answer: Answer = KNOWN) -> None:
    """Let the User Service answer the read before the command."""
    gateway.sidecar.answer = lambda _app_id, path: answer if path == f"/erasure/{USER}" else Answer(404, b"{}")


async def erased(gateway: Gateway) -> None:
    """Deliver the UserErased of the newest command, about the user."""
    await gateway.sidecar.was_published.wait()
    gateway.sidecar.was_published.clear()
    command = gateway.sidecar.published[-1][1]["correlationid"]
    data = {"user_id": USER}
    event = {
        "id": USER,
        "type": "UserErased",
        "correlationid": command,
        "subject": USER,
        "source": "user",
        "data": data,
    }
    answer = await gateway.http.post(
        "/events/replies/UserErased", content=json.dumps(event), headers={"dapr-api-token": "app-token"}
    )
    assert 200 == answer.status_code


def play(scenario: Callable[[Gateway], Awaitable[None]]) -> None:
    """Run a scenario in which the service knows the user."""

    async def with_user(gateway: Gateway) -> None:
        known(gateway)
        await scenario(gateway)

    run(with_user)


def test_an_erasure_is_answered_200_by_its_event() -> None:
    """The command has the id and the fields that the service answers; a repetition is the same."""

    async def scenario(gateway: Gateway) -> None:
        commands = []
        for _ in range(2):
            answer, _ = await asyncio.gather(gateway.http.delete(f"/user/{USER}"), erased(gateway))
            assert (200, {"user_id": USER, "status": "erased"}) == (answer.status_code, answer.json())
            assert f"/user/{USER}" == answer.headers["location"]
            commands.append(gateway.sidecar.published[-1])

        assert {"user_id": USER, "address_hash": HASH} == commands[0][1]["data"]
        assert commands[0][0] == "UserEraseRequested"
        assert commands[0][1]["id"] == commands[1][1]["id"]

    play(scenario)


def test_after_the_wait_the_answer_is_202() -> None:
    """The pending command is recorded apart from the registration of the user."""

    async def scenario(gateway: Gateway) -> None:
        answer = await gateway.http.delete(f"/user/{USER}", headers={"prefer": "respond-async"})

        assert (202, {"user_id": USER, "status": "accepted"}) == (answer.status_code, answer.json())
        assert ("1", "respond-async") == (answer.headers["retry-after"], answer.headers["preference-applied"])
        assert f"pending:{USER}" not in gateway.sidecar.records
        assert [("erasure", USER)] == [(flow.kind, flow.resource) for flow in gateway.journal.flows()]

    play(scenario)


@pytest.mark.parametrize(
    ("answer", "status"), [(Answer(404, b"{}"), 404), (Answer(500, b""), 503), (Answer(200, b"{}"), 503)]
)
def test_an_answer_without_the_user_is_a_problem(answer: Answer, status: int) -> None:
    """Nothing is published."""

    async def scenario(gateway: Gateway) -> None:
        gateway.wiring.commands_api.known.remove(f"/user/{USER}")
        known(gateway, answer)
        response = await gateway.http.delete(f"/user/{USER}")

        assert status == response.status_code
        assert "application/problem+json" == response.headers["content-type"]
        assert [] == gateway.sidecar.published

    run(scenario)


def test_an_id_that_is_no_uuid_is_404_and_other_methods_are_405() -> None:
    """The Allow header lists the methods of the path."""

    async def scenario(gateway: Gateway) -> None:
        assert 404 == (await gateway.http.delete("/user/..")).status_code
        assert 404 == (await gateway.http.delete("/user/ann")).status_code
        put = await gateway.http.put(f"/user/{USER}")
        assert (405, "GET, HEAD, DELETE") == (put.status_code, put.headers["allow"])
        literal = await gateway.http.delete("/user/register")
        assert (405, "POST") == (literal.status_code, literal.headers["allow"])

    play(scenario)


def test_the_gateway_forgets_the_registration() -> None:
    """The pending record loses its command and its owner, and the caches lose the user."""

    async def scenario(gateway: Gateway) -> None:
        registered: dict[str, Any] = {
            "location": f"/user/{USER}",
            "changed_at": "2026-01-01T00:00:00.000Z",
            "commands": [{"id": USER, "topic": "UserCreateRequested", "event": {"data": {"email": "a@example.com"}}}],
            "owner": "a@example.com",
        }
        gateway.sidecar.put(f"pending:{USER}", json.dumps(registered).encode())

        await asyncio.gather(gateway.http.delete(f"/user/{USER}"), erased(gateway))

        stored = b"".join(value for value, _ in gateway.sidecar.records.values())
        assert b"a@example.com" not in stored
        assert [] == gateway.sidecar.read(f"pending:{USER}")["commands"]
        assert 404 == (await gateway.http.get(f"/user/{USER}")).status_code
        gateway.wiring.commands_api.known.add(f"/user/{USER}")  # a late UserCreated
        assert f"/user/{USER}" not in gateway.wiring.commands_api.known.paths

    play(scenario)


def test_the_tokens_of_an_erased_caller_are_forgotten() -> None:
    """The cache of verified tokens holds addresses."""
    verifier = Verifier()
    found = Callers(verifier, CallerLimits(0, 0))
    ask(found, ["Bearer t"])

    found.forget_caller("ann")
    ask(found, ["Bearer t"])

    assert ["t", "t"] == verifier.verified


def test_only_the_person_and_operators_may_erase_and_export() -> None:
    """The scope of another command does not matter."""
    require_own(Caller(USER), "user_id", USER)
    require_own(Caller("x", roles=frozenset({"operator"})), "user_id", USER)

    with pytest.raises(Problem) as raised:
        require_own(Caller("x", scopes=frozenset({"deposits"})), "user_id", USER)

    assert forbidden("").status == raised.value.status


def act_as(gateway: Gateway, caller: Caller) -> None:
    """Let each request of the gateway be that of this caller."""
    verifier = Verifier()
    verifier.caller = caller
    wiring = gateway.wiring
    api = replace(wiring.erasures_api, callers=Callers(verifier, CallerLimits(9, 9)))
    replace(wiring, erasures_api=api).attach(gateway.app._app._app._app)  # type: ignore[attr-defined]  # see Gateway


BOSS = Caller("boss-id", "boss@example.com", frozenset({"operator"}))
BEARER = {"authorization": "Bearer t"}


def entries(gateway: Gateway) -> list[dict[str, Any]]:
    """Return the entries of the audit trail."""
    return [gateway.sidecar.read(key) for key in gateway.sidecar.records if key.startswith("audit:")]


def test_an_erasure_by_an_operator_is_audited_first() -> None:
    """The entry is there when the command is published, and has the outcome at the end."""

    async def scenario(gateway: Gateway) -> None:
        act_as(gateway, BOSS)
        seen: list[str] = []

        async def reply() -> None:
            await gateway.sidecar.was_published.wait()
            seen.extend(each["outcome"] for each in entries(gateway))
            await erased(gateway)

        answer, _ = await asyncio.gather(gateway.http.delete(f"/user/{USER}", headers=BEARER), reply())

        assert (200, ["begun"]) == (answer.status_code, seen)
        [entry] = entries(gateway)
        assert ("boss@example.com", "gateway", "erase", f"user_id {USER}", "completed") == tuple(
            entry[name] for name in ("who", "via", "action", "target", "outcome")
        )

    play(scenario)


def test_the_outcome_of_a_pending_erasure_is_accepted() -> None:
    """The trail does not wait for the reply."""

    async def scenario(gateway: Gateway) -> None:
        act_as(gateway, BOSS)
        answer = await gateway.http.delete(f"/user/{USER}", headers={**BEARER, "prefer": "respond-async"})

        assert (202, ["accepted"]) == (answer.status_code, [each["outcome"] for each in entries(gateway)])

    play(scenario)


def test_without_an_entry_an_operator_erases_nothing() -> None:
    """The store of the gateway takes no entry, so no command is published."""

    async def scenario(gateway: Gateway) -> None:
        act_as(gateway, BOSS)

        def refuse(key: str) -> None:
            if key.startswith("audit:"):
                raise SidecarUnavailable("no entry")

        gateway.sidecar.before_save = refuse
        answer = await gateway.http.delete(f"/user/{USER}", headers=BEARER)

        assert (503, []) == (answer.status_code, gateway.sidecar.published)
        assert "audit trail" in answer.json()["detail"]

    play(scenario)


def test_an_erasure_without_tokens_is_audited_and_that_of_a_person_is_not() -> None:
    """No operator acts if the person sends the request."""

    async def scenario(gateway: Gateway) -> None:
        await asyncio.gather(gateway.http.delete(f"/user/{USER}"), erased(gateway))
        assert [UNKNOWN] == [each["who"] for each in entries(gateway)]

        act_as(gateway, Caller(USER, "ann@example.com"))
        await asyncio.gather(gateway.http.delete(f"/user/{USER}", headers=BEARER), erased(gateway))
        assert 1 == len(entries(gateway))

    play(scenario)
