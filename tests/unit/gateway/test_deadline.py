"""The deadline of a request: one budget for all its steps."""

import asyncio

from gateway.deadline import ANSWER_SECONDS, Deadline


def test_a_step_takes_at_most_half_of_what_is_left() -> None:
    """So that the pending command can be written after any number of steps."""

    async def scenario() -> None:
        deadline = Deadline(0)
        assert 0 == deadline.left
        assert deadline.share(10) <= ANSWER_SECONDS / 2
        assert 0.01 == deadline.share(0.01)
        assert 10 == Deadline(30).share(10)

    asyncio.run(scenario())


def test_time_that_is_over_is_not_negative() -> None:
    """A step that comes too late gets none."""

    async def scenario() -> None:
        deadline = Deadline(-10)
        assert (0, 0, 0) == (deadline.left, deadline.left_to_answer, deadline.share(1))

    asyncio.run(scenario())
