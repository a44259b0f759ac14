"""The edge serves any application: a library that lends books is one command and one query."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sidecart.chassis.server.inbound import InboundApp, Subscription
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import background
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.edge.app import public_app
from sidecart.edge.bodies import Id, Strict
from sidecart.edge.declarations import Application, CommandDeclaration, QueryDeclaration
from sidecart.edge.settings import read
from sidecart.edge.wiring import Wiring
from tests.unit.edge.fakes import FakeSidecar, until

OWN = read({"AUTH": "off"})
READER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"


class LoanBody(Strict):
    """The body of POST /loans."""

    reader_id: Id
    title: str


class Loan(msgspec.Struct):
    """The 201 response."""

    loan_id: str
    title: str


LIBRARY = Application(
    title="Library",
    description="The events of a library.",
    folder=Path(__file__).parents[3],
    commands=(
        CommandDeclaration(
            path="/loans",
            summary="Lend a book.",
            body=LoanBody,
            topic="LoanRequested",
            resource="loan_id",
            owner="reader_id",
            is_for_any_owner=True,
            location="/loans/{loan_id}",
            success="BookLent",
            answer=Loan,
            answer_schema="loan",
            rejection="LoanRefused",
            problems={"lent_already": (409, "another reader has this book")},
        ),
    ),
    queries=(QueryDeclaration("/loans/{loan_id}", app_id="desk", schema="loan", is_public=True),),
    publishers={"BookLent": "desk", "LoanRefused": "desk"},
)


@pytest.mark.parametrize(
    ("topic", "data", "status", "body"),
    [
        ("BookLent", {"title": "Emma", "shelf": 7}, 201, {"title": "Emma"}),
        ("LoanRefused", {"reason": "lent_already"}, 409, {"detail": "another reader has this book"}),
    ],
)
def test_a_declared_command_is_held_until_its_reply(
    topic: str, data: dict[str, Any], status: int, body: dict[str, Any]
) -> None:
    """The declaration is all that the edge knows of it."""

    async def scenario() -> None:
        sidecar = FakeSidecar()
        wiring = Wiring.of(
            LIBRARY, sidecar, LoopbackProbe("replies", "gateway-0"), ShutdownSignal(), read({"AUTH": "off"})
        )
        app = public_app(LIBRARY, lifespan=None, is_open=True)  # type: ignore[arg-type]  # the transport runs no lifespan
        wiring.attach(app)
        subscribe(app, wiring)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://library")
        async with http, background(wiring.pending_worker.work()), background(wiring.journal.write()):
            await wiring.secrets.load()
            await until(lambda: wiring.pending_commands.resumed)
            asked = asyncio.create_task(http.post("/loans", json={"reader_id": READER, "title": "Emma"}))
            await sidecar.was_published.wait()
            published, event = sidecar.published[0]
            reply = {
                "id": READER,
                "type": topic,
                "source": "desk",
                "correlationid": event["id"],
                "subject": event["subject"],
            }
            sent = {**reply, "data": {"loan_id": event["subject"], **data}}
            await http.post(f"/events/replies/{topic}", content=json.dumps(sent))
            answer = await asked

        assert ("LoanRequested", status) == (published, answer.status_code)
        assert body.items() <= answer.json().items()
        assert [f"/loans/{event['subject']}"] * (status == 201) == answer.headers.get_list("location")

    asyncio.run(scenario())


def subscribe(app: InboundApp, wiring: Wiring) -> None:
    """Subscribe to the replies, as the lifespan does."""
    app.subscribe([Subscription("replies", topic, handle) for topic, handle in wiring.topics().items()], None)
