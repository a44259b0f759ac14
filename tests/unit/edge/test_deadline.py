"""All steps of a request share one deadline."""

import asyncio

from sidecart.edge.deadline import ANSWER_SECONDS, Deadline


def test_a_step_gets_at_most_half_of_the_remaining_time() -> None:
    """After any number of steps the pending command can still be written."""

    async def scenario() -> None:
        deadline = Deadline(0)
        assert 0 == deadline.left
        assert deadline.share(10) <= ANSWER_SECONDS / 2
        assert 0.01 == deadline.share(0.01)
        assert 10 == Deadline(30).share(10)

    asyncio.run(scenario())


def test_the_remaining_time_is_never_negative() -> None:
    """After the deadline a step gets 0 s."""

    async def scenario() -> None:
        deadline = Deadline(-10)
        assert (0, 0, 0) == (deadline.left, deadline.left_to_answer, deadline.share(1))

    asyncio.run(scenario())
