"""The deadline of one request: everything that the gateway does for it shares one budget of time."""

from __future__ import annotations

import asyncio

ANSWER_SECONDS = 0.8
"""For writing the answer once the wait is over. The documented limit is 1 s; the rest is for the way to the caller."""


class Deadline:
    """When the wait for an event ends, and when the answer must be written; times are those of the running loop.

    Made once for each request, when its body has been received: the caller counts from there (RFC 7240, section 4.3).
    """

    __slots__ = ("_now", "answer_by", "end")

    def __init__(self, wait_seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self.end = self._now() + wait_seconds
        self.answer_by = self.end + ANSWER_SECONDS

    @property
    def left(self) -> float:
        """Seconds until the wait ends; 0 when it is over."""
        return max(self.end - self._now(), 0.0)

    @property
    def left_to_answer(self) -> float:
        """Seconds until the answer must be written; 0 when it is late."""
        return max(self.answer_by - self._now(), 0.0)

    def share(self, seconds_max: float) -> float:
        """How long one step may take: at most half of what is left, so that the steps after it have time too."""
        return min(seconds_max, self.left_to_answer / 2)
