"""Mails that were put aside: tried again later and later, by whichever replica, until sent, refused or too old."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chassis.dead_letters import DeadLetters
from chassis.errors import EventFault, WorldFault
from services.notification.aside import KEPT, PAUSE_MAX, Aside, RefusedForNow
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.gateway.fakes import until
from tests.unit.services.given import COMMAND, EVENT, ORDER

BEGIN = datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)  # a record has milliseconds only
MINUTE = timedelta(minutes=1)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = msgspec.json.encode({"id": EVENT, "type": "EmailRequested", "correlationid": COMMAND, "traceparent": TRACE})


class Post:
    """A clock, a store, a mail server that says what it is told to say, and replicas of what is tested."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.sidecar = FakeSidecar()
        self.says: Exception | None = RefusedForNow("451 later")
        self.sent_at: list[datetime] = []
        self.dead = DeadLetters(self.sidecar, lambda: self.now)

    def replica(self) -> Aside:
        """A process of the Notification Service."""
        return Aside(self.sidecar, lambda: self.now, MINUTE)

    async def send(self, body: bytes) -> None:
        """Try to send."""
        assert body == BODY
        self.sent_at.append(self.now)
        if self.says is not None:
            raise self.says

    async def look(self, *replicas: Aside) -> None:
        """All of them look at the same moment."""
        await asyncio.gather(*(each.try_those_due(self.send, self.dead) for each in replicas))

    async def pass_time(self, replica: Aside, by: timedelta, times: int) -> None:
        """Look again and again."""
        for _ in range(times):
            self.now += by
            await self.look(replica)

    @property
    def index(self) -> list[str]:
        """What is put aside."""
        ids: list[str] = self.sidecar.read("aside-index:0")["ids"]
        return ids


@pytest.fixture
def post() -> Post:
    """All of it, new."""
    return Post()


def test_a_mail_is_tried_later_and_later(post: Post) -> None:
    """After one minute, then two, four, eight: never all the time."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        await post.pass_time(aside, timedelta(seconds=30), 62)

    asyncio.run(scenario())

    assert [1, 3, 7, 15, 31] == [(each - BEGIN) / MINUTE for each in post.sent_at]


def test_the_pause_has_an_end(post: Post) -> None:
    """A day later it is still tried once an hour."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        await post.pass_time(aside, timedelta(minutes=10), 6 * 30)

    asyncio.run(scenario())

    assert PAUSE_MAX == post.sent_at[-1] - post.sent_at[-2]


def test_a_mail_that_is_taken_at_last_is_over(post: Post) -> None:
    """It is tried no more, not even by a process that starts later."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        post.says = None
        await post.pass_time(aside, MINUTE, 1)
        await post.pass_time(post.replica(), PAUSE_MAX, 2)

    asyncio.run(scenario())

    assert 1 == len(post.sent_at)
    assert [] == post.index
    assert (True, "") == (post.sidecar.read(f"aside:{ORDER}")["over"], post.sidecar.read(f"aside:{ORDER}")["event"])


def test_of_several_replicas_one_tries(post: Post) -> None:
    """Whoever moves the time of the next try first; a process that started anew goes on."""

    async def scenario() -> None:
        await post.replica().put(ORDER, BODY)
        post.now += MINUTE
        await post.look(post.replica(), post.replica(), post.replica())

    asyncio.run(scenario())

    assert 1 == len(post.sent_at)


def test_after_two_days_it_is_one_dead_letter(post: Post) -> None:
    """With the server's last word, and the trace that it came with."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        await post.pass_time(aside, timedelta(minutes=30), 2 * 48 + 4)

    asyncio.run(scenario())

    letter = post.sidecar.read(f"dead:{EVENT}")
    assert ("EmailRequested", BODY.decode(), TRACE) == (letter["topic"], letter["event"], letter["traceparent"])
    assert "451 later" in letter["reason"]
    assert KEPT <= post.sent_at[-1] - BEGIN < KEPT + PAUSE_MAX + MINUTE
    assert ([EVENT], []) == (post.sidecar.read("dead-index:0")["ids"], post.index)


def test_a_mail_that_is_refused_for_good_in_the_end_is_a_dead_letter(post: Post) -> None:
    """At once."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        post.says = EventFault("550 no such user")
        await post.pass_time(aside, MINUTE, 5)

    asyncio.run(scenario())

    assert 1 == len(post.sent_at)
    assert "550 no such user" == post.sidecar.read(f"dead:{EVENT}")["reason"]
    assert [] == post.index


def test_a_server_that_is_away_takes_nothing_from_the_list(post: Post) -> None:
    """It said nothing of this mail, so the pauses do not grow; it goes on when the server is back."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        post.says = WorldFault("the mail server is away")
        post.now += MINUTE
        with pytest.raises(WorldFault):
            await post.look(aside)
        assert (0, [ORDER]) == (post.sidecar.read(f"aside:{ORDER}")["attempts"], post.index)
        post.says = None
        await post.pass_time(aside, MINUTE, 1)

    asyncio.run(scenario())

    assert 2 == len(post.sent_at)
    assert [] == post.index


def test_what_was_over_can_be_put_aside_again(post: Post) -> None:
    """Somebody replayed its dead letter."""

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        post.says = None
        await post.pass_time(aside, MINUTE, 1)
        await aside.put(ORDER, BODY)
        await aside.put(ORDER, BODY)
        await post.pass_time(aside, MINUTE, 1)

    asyncio.run(scenario())

    assert 2 == len(post.sent_at)
    assert [] == post.index


def test_what_is_asked_for_again_while_it_ends_is_not_forgotten(post: Post) -> None:
    """Its dead letter is replayed between the letter and the end: it is still listed, and tried once more."""

    async def scenario() -> None:
        aside, other = post.replica(), post.replica()
        await aside.put(ORDER, BODY)
        write = post.dead.write

        async def write_and_replay(topic: str, body: bytes, reason: str, traceparent: str) -> None:
            await write(topic, body, reason, traceparent)
            await other.put(ORDER, BODY)

        post.dead.write = write_and_replay  # type: ignore[method-assign]  # somebody is quick
        post.says = EventFault("550 no such user")
        await post.pass_time(aside, MINUTE, 1)
        assert [ORDER] == post.index
        post.says = None
        await post.pass_time(other, 2 * MINUTE, 1)

    asyncio.run(scenario())

    assert 2 == len(post.sent_at)
    assert [] == post.index


def test_a_mail_that_cannot_be_read_holds_up_no_other(post: Post) -> None:
    """A bug is about one of them; the work goes on, for as long as the process lives."""
    other = ORDER.replace("c1", "c2")

    async def scenario() -> None:
        aside = post.replica()
        await aside.put(ORDER, BODY)
        await aside.put(other, BODY)
        post.sidecar.put(f"aside:{ORDER}", b"{}")
        post.says = None
        post.now += MINUTE
        work = asyncio.create_task(aside.carry(post.send, post.dead))
        await until(lambda: other not in post.index)
        await asyncio.sleep(0)
        assert not work.done()
        work.cancel()

    asyncio.run(scenario())

    assert 1 == len(post.sent_at)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["refuse", "lose"])
def test_a_sidecar_that_goes_away_at_any_call_loses_no_mail(post: Post, number: int, kind: str) -> None:
    """Whatever was begun is finished by whoever looks later; the mail may be tried twice, and is over in the end."""

    async def scenario() -> None:
        getattr(post.sidecar, kind)[number] = WorldFault("away")
        aside = post.replica()
        for _ in range(2):  # the event comes again until it is taken
            try:
                await aside.put(ORDER, BODY)
            except WorldFault:
                continue
            break
        post.says = None
        for _ in range(4):
            post.now += PAUSE_MAX
            try:
                await post.look(post.replica())
            except WorldFault:
                continue

    asyncio.run(scenario())

    assert 1 <= len(post.sent_at) <= 2
    assert [] == post.index
