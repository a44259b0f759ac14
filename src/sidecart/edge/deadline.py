"""The deadline of a request: everything that the gateway does for it shares one time budget."""

from __future__ import annotations

import asyncio

ANSWER_SECONDS = 0.8
"""The time to write the response after the wait. The documented limit is 1 s; the rest is for the
network between the gateway and the caller.
"""


class Deadline:
    """The time at which the wait for an event ends, and the time by which the gateway responds.

    Both are times of the running event loop. The gateway creates one deadline for each request,
    after it has received the body: the caller counts from there (RFC 7240, section 4.3).
    """

    __slots__ = ("_now", "answer_by", "end")

    def __init__(self, wait_seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self.end = self._now() + wait_seconds
        self.answer_by = self.end + ANSWER_SECONDS

    @property
    def left(self) -> float:
        """Seconds until the wait ends; 0 when it has ended."""
        return max(self.end - self._now(), 0.0)

    @property
    def left_to_answer(self) -> float:
        """Seconds until the response is due; 0 when it is late."""
        return max(self.answer_by - self._now(), 0.0)

    def share(self, seconds_max: float) -> float:
        """Return the seconds that one step may take: at most half of the remaining time.

        The other half is left for the steps that follow.
        """
        return min(seconds_max, self.left_to_answer / 2)
