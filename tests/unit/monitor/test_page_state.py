"""The page state: the snapshot equals the sum of all notices."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

from gateway.commands import ERASURES
from sidecart.launcher.dead_letter_groups import Group
from sidecart.monitor.dead_letters import DeadLetterSummary, DeadLetterView
from sidecart.monitor.event import Event
from sidecart.monitor.flow import Call
from sidecart.monitor.group_run import Progress
from sidecart.monitor.health import Health
from sidecart.monitor.page_state import MAILS_SHOWN, ON, PageState
from tests.unit.monitor.described import DESCRIPTION
from tests.unit.monitor.test_flows import example, mail_for


class Page:
    """A page state and its notices."""

    def __init__(self) -> None:
        self.notified: list[tuple[str, Any]] = []
        self.resets = 0
        self.page_state = PageState(
            {"broker": "any"},
            DESCRIPTION,
            lambda kind, body: self.notified.append((kind, body)),
            lambda: 0.0,
            forgot=self._reset,
        )

    def _reset(self) -> None:
        self.resets += 1

    @property
    def kinds(self) -> list[str]:
        """The kinds of the notices so far."""
        return [kind for kind, _ in self.notified]


def test_an_event_sends_its_step_and_enters_the_snapshot() -> None:
    """The notice omits the flow's other steps, which viewers already have."""
    page = Page()
    page.page_state.add_event(example("OrderCreateRequested"))
    page.page_state.add_event(example("OrderCreated"))

    change = page.notified[-1][1]
    assert (["resource", "step", "step"], "OrderCreated", []) == (page.kinds, change.step.name, change.flow.steps)
    assert [2] == [len(flow.steps) for flow in page.page_state.snapshot()["flows"]]


def test_a_new_resource_is_announced_once() -> None:
    """Either the event or the response comes first."""
    page, created = Page(), example("UserCreated")
    answer = {name: created.data[name] for name in ("user_id", "name", "email")}
    call = Call("/user/register", answer, 201, "CREATED", answer, f"/user/{created.subject}", 0, 1)
    page.page_state.add_request(call)
    page.page_state.add_event(created)

    assert 1 == page.kinds.count("resource")
    assert ["Ada Lovelace"] == [each.label for each in page.page_state.snapshot()["resources"]]


def test_a_pending_resource_is_not_announced() -> None:
    """A response of 202 only has its id."""
    page = Page()
    page.page_state.add_request(Call("/user/register", {}, 202, "ACCEPTED", {"user_id": "u1"}, "/user/u1", 0, 1))

    assert ["step", "step"] == page.kinds


def test_mails_are_announced_and_the_newest_are_kept() -> None:
    """Each mail is also a step of the flow that requested it."""
    page, email_requested = Page(), example("EmailRequested")
    page.page_state.add_event(email_requested)
    page.page_state.add_mails([{"id": number, "message_id": str(number)} for number in range(MAILS_SHOWN)])
    page.page_state.add_mails([mail_for(email_requested)])

    assert ["resource", "step", "mails", "mails", "step"] == page.kinds
    assert MAILS_SHOWN == len(page.page_state.snapshot()["mails"])
    assert mail_for(email_requested) == page.page_state.snapshot()["mails"][-1]


def test_an_unchanged_state_sends_no_notice() -> None:
    """Health, dead letters and the tap are polled repeatedly."""
    page = Page()
    for _ in range(2):
        page.page_state.set_health([Health("order", "ready", "up", 0)])
        page.page_state.set_dead_letters(DeadLetterSummary(0, [], []))
        page.page_state.set_dead_letters("unreachable")
        page.page_state.set_tap(ON)

    assert ["health", "dead_letters", "tap", "dead_letters", "dead_letters"] == page.kinds
    assert ("unreachable", {"state": "on", "why": ""}) == (
        page.page_state.snapshot()["dead_letters"],
        page.page_state.snapshot()["tap"],
    )


def test_a_dead_letter_marks_the_flow_of_its_event_on_an_open_page_only() -> None:
    """The event may be seen after its dead letter was read: the next read marks it."""
    event = example("OrderPaid")
    summary = DeadLetterSummary(1, [DeadLetterView(event.id, "order", "OrderPaid", "", "reason", "", "open")], [])
    notified: list[tuple[str, Any]] = []
    for is_open in (True, False):
        page_state = PageState({}, DESCRIPTION, lambda *notice: notified.append(notice), lambda: 0.0, is_open=is_open)
        page_state.set_dead_letters(summary)
        page_state.add_event(event)
        page_state.set_dead_letters(summary)

    assert [[1]] == [body.dead_steps for kind, body in notified if kind == "flow"]


def test_a_closed_page_tells_every_viewer_the_number_only() -> None:
    """Only operators read dead letters there; each change has a number, so that they read again."""
    notified: list[tuple[str, Any]] = []
    page_state = PageState({}, DESCRIPTION, lambda *notice: notified.append(notice), lambda: 0.0, is_open=False)
    view = DeadLetterView("id", "order", "OrderPaid", "", "secret reason", "secret event", "open")
    page_state.set_dead_letters(DeadLetterSummary(1, [view], []))
    page_state.set_dead_letters(DeadLetterSummary(1, [view, view], []))

    assert [{"total": 1, "changes": 1}, {"total": 1, "changes": 2}] == [body for _, body in notified]
    assert "secret" not in str(page_state.snapshot()["dead_letters"])
    assert DeadLetterSummary(1, [view, view], []) == page_state.dead_letters


def test_the_progress_of_a_group_and_the_history_of_an_id_are_kept() -> None:
    """A new viewer receives the progress; the history is for operators only."""
    page = Page()
    progress = Progress("replay", "1a2b", "running", 10, {"replayed": 3})
    page.page_state.set_group_run(progress)
    event = example("OrderCreated")
    page.page_state.add_event(event)

    assert [("group_run", progress)] == [each for each in page.notified if each[0] == "group_run"]
    assert progress == page.page_state.snapshot()["group_run"]
    assert ["OrderCreated"] == [each.topic for each in page.page_state.history_of(event.subject)]
    assert "history" not in page.page_state.snapshot()


ADDRESS, NAME = "ada@example.com", "Ada Lovelace"


def seen() -> Page:
    """A page that has seen a registration, an order of the user, and its mail."""
    page, created, mail = Page(), example("UserCreated"), example("EmailRequested")
    answer = dict(created.data)
    page.page_state.add_request(
        Call("/user/register", answer, 201, "CREATED", answer, f"/user/{created.subject}", 0, 1)
    )
    for event in (example("UserCreateRequested"), created, example("OrderCreateRequested"), mail):
        page.page_state.add_event(event)
    page.page_state.add_mails([mail_for(mail)])
    return page


def erased(user_id: str = "") -> Event:
    """The event that erases a user, by default that of the other examples."""
    person = user_id or example("UserCreated").subject
    return example("UserErased", subject=person, correlation_id=str(uuid.uuid4()), data={"user_id": person})


def shown(page: Page) -> str:
    """All that a new viewer receives."""
    return msgspec.json.encode(page.page_state.snapshot()).decode()


def test_the_page_knows_the_event_that_erases() -> None:
    """It is the one by which the gateway answers an erasure."""
    assert DESCRIPTION.erasure is not None
    assert [DESCRIPTION.erasure.topic] == [each.success for each in ERASURES]


def test_an_erasure_makes_the_page_forget() -> None:
    """A new viewer sees neither the address nor the name, and connected ones get a new snapshot."""
    page = seen()
    assert (True, True) == (ADDRESS in shown(page), NAME in shown(page))
    before = page.resets

    page.page_state.add_event(erased())

    assert (False, False) == (ADDRESS in shown(page), NAME in shown(page))
    assert page.resets > before
    assert [] == page.page_state.snapshot()["mails"]
    assert "user_id" not in {each.kind for each in page.page_state.snapshot()["resources"]}


@pytest.mark.parametrize("topic", ["UserCreateRequested", "UserCreated", "EmailRequested"])
def test_a_late_event_of_an_erased_user_shows_nothing(topic: str) -> None:
    """Topics arrive independently, so the erasure can arrive first; notices have no data either."""
    page = Page()
    page.page_state.add_mails([mail_for(example("EmailRequested"))])
    page.page_state.add_event(erased())
    page.notified.clear()

    page.page_state.add_event(example(topic))
    page.page_state.add_mails([mail_for(example("EmailRequested"))] if topic == "EmailRequested" else [])

    told = msgspec.json.encode(page.notified).decode()
    assert [] == [each for each in (ADDRESS, NAME) if each in shown(page) or each in told]


def test_a_mail_before_its_request_is_forgotten_with_it() -> None:
    """The request names the erased user, so the mail goes too."""
    page, mail = Page(), example("EmailRequested")
    page.page_state.add_event(erased())
    page.page_state.add_mails([mail_for(mail)])
    page.page_state.add_event(mail)

    assert [] == page.page_state.snapshot()["mails"]
    assert mail.data["to"] not in shown(page)


def test_the_others_stay() -> None:
    """The erasure of another user changes nothing of this one."""
    page = seen()
    page.page_state.add_event(erased(str(uuid.uuid4())))

    assert [NAME] == [each.label for each in page.page_state.snapshot()["resources"] if each.kind == "user_id"]
    assert 1 == len(page.page_state.snapshot()["mails"])
    assert f"{NAME} registers" in {each.title for each in page.page_state.snapshot()["flows"]}


def test_a_flow_without_a_person_is_forgotten_too() -> None:
    """A rejected request has no id, so it may be that of the erased user."""
    page = Page()
    body = {"name": NAME, "email": ADDRESS}
    page.page_state.add_request(Call("/user/register", body, 422, "UNPROCESSABLE", {"detail": ADDRESS}, "", 0, 1))
    page.page_state.add_event(erased())

    assert [] == [each for each in (ADDRESS, NAME) if each in shown(page)]


def test_an_unwatched_page_forgets_all_people() -> None:
    """Without viewers the tap is closed, so the page does not see who is erased."""
    page = seen()
    page.page_state.forget_all()

    assert [] == [each for each in (ADDRESS, NAME) if each in shown(page)]
    page.page_state.add_event(example("UserCreated", id=str(uuid.uuid4()), correlation_id="another"))
    assert NAME in shown(page)


def test_notices_of_erased_dead_letters_are_not_repeated() -> None:
    """A reconnecting viewer would receive the event of a dead letter from the ring."""
    page = Page()
    view = DeadLetterView("id", "user", "UserCreated", "", "", ADDRESS, "open")
    group = Group("g", "user", "UserCreated", "", "id", "", "", 1)
    page.page_state.set_dead_letters(DeadLetterSummary(1, [view], [group]))
    assert 0 == page.resets

    erased = Group("g", "user", "UserCreated", "", "id", "", "", 0, 1)
    page.page_state.set_dead_letters(DeadLetterSummary(0, [], [erased]))

    assert 1 == page.resets
