"""A read that meets a stopping service is repeated a moment later."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from sidecart.chassis.connections import Answer
from sidecart.edge import queries_api
from sidecart.edge.command import ANSWER_SECONDS, Deadline
from sidecart.edge.queries_api import AGAIN_AFTER_SECONDS, QueriesApi
from tests.unit.edge.fakes import FakeSidecar

PATH = "/user/u-1"
STOPPED = Answer(500, b'{"errorCode":"ERR_DIRECT_INVOKE","message":"connect: connection refused"}')


def ask(answers: list[Answer]) -> tuple[Answer | None, int]:
    """Return what a read gets from a service with these answers, and the number of its calls."""
    sidecar = FakeSidecar()
    left = iter(answers)
    sidecar.answer = lambda _app, _path: next(left)
    # this part of a read uses nothing but the sidecar
    api = QueriesApi(sidecar, *cast(Any, (None, None, None, frozenset(), None)))

    async def read() -> Answer | None:
        first = await api._ask("user", PATH, queries_api.READ_SECONDS_MAX)
        return await api._ask_again("user", PATH, first, Deadline(queries_api.READ_SECONDS_MAX))

    return asyncio.run(read()), len(sidecar.invoked)


def test_a_read_is_repeated_until_a_service_answers() -> None:
    """A stopping app ends before its sidecar, which answers for some tenths of a second."""
    assert (Answer(200, b"{}"), 3) == ask([STOPPED, STOPPED, Answer(200, b"{}")])


def test_a_read_ends_if_no_service_comes_back() -> None:
    """The caller gets 503 within a second."""
    assert (STOPPED, 1 + len(AGAIN_AFTER_SECONDS)) == ask([STOPPED] * 9)
    assert sum(AGAIN_AFTER_SECONDS) < 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"{}"),
        Answer(404, b"{}"),
        Answer(503, b"{}"),
        Answer(500, b"oops"),
        Answer(200, b'{"errorCode":"ERR_DIRECT_INVOKE"}'),
        Answer(500, b'{"name":"ERR_DIRECT_INVOKE"}'),
    ],
)
def test_an_answer_of_the_service_is_final(answer: Answer) -> None:
    """Only the sidecars' own error is repeated."""
    assert (answer, 1) == ask([answer])


def test_the_time_of_a_read_bounds_its_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets 503 by then."""
    monkeypatch.setattr(queries_api, "READ_SECONDS_MAX", 0.15 - ANSWER_SECONDS)

    assert (STOPPED, 2) == ask([STOPPED] * 9)
