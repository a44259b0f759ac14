"""The export of a person: the answers of all services in one document."""

import json

import pytest

from sidecart.chassis.connections import Answer
from tests.unit.edge.test_app import USER, Gateway, run

ANSWERS = {"user": b'{"user_id":"u"}', "billing": b'{"balance_cents":1}', "notification": b'{"notifications":[]}'}


def test_the_document_has_the_answer_of_each_service() -> None:
    """A service that keeps nothing about the person has no part."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.answer = lambda app_id, _path: (
            Answer(404, b"{}") if app_id == "billing" else Answer(200, ANSWERS[app_id])
        )
        answer = await gateway.http.get(f"/user/{USER}/export")

        expected = {name: json.loads(body) for name, body in ANSWERS.items() if name != "billing"}
        assert (200, {"user_id": USER} | expected) == (answer.status_code, answer.json())
        assert sorted(f"{app_id}/export/user/{USER}" for app_id in ANSWERS) == sorted(gateway.sidecar.invoked)

    run(scenario)


@pytest.mark.parametrize(
    ("app_id", "status", "expected"), [("user", 404, 404), ("user", 500, 503), ("billing", 503, 503)]
)
def test_a_service_that_does_not_answer_is_a_problem(app_id: str, status: int, expected: int) -> None:
    """An export without a part would look complete; an erased person is not there."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.answer = lambda asked, _path: (
            Answer(status, b"{}") if asked == app_id else Answer(200, ANSWERS[asked])
        )

        assert expected == (await gateway.http.get(f"/user/{USER}/export")).status_code

    run(scenario)


def test_an_erased_person_is_named_and_not_the_path() -> None:
    """A caller would look for a mistake in the path."""

    async def scenario(gateway: Gateway) -> None:
        gateway.sidecar.answer = lambda _asked, _path: Answer(404, b"{}")
        answer = await gateway.http.get(f"/user/{USER}/export")

        assert (404, f"the user_id {USER} is unknown, or was erased") == (answer.status_code, answer.json()["detail"])

    run(scenario)


def test_an_id_that_is_no_uuid_is_404() -> None:
    """No service is asked."""

    async def scenario(gateway: Gateway) -> None:
        assert 404 == (await gateway.http.get("/user/ann/export")).status_code
        assert [] == gateway.sidecar.invoked

    run(scenario)
