"""The replay of one dead letter, as a run does it, without an audit trail."""

from __future__ import annotations

from sidecart.launcher.dead_letter_runs import UNKNOWN
from sidecart.launcher.dead_letters import DeadLetter, State
from sidecart.launcher.replays import PUBLISHED, Outcomes, publish_again


def replay(state: State, letter: DeadLetter) -> str:
    """Publish the event again, and return the outcome that its service tells."""
    outcome = publish_again(state, letter)
    if outcome != PUBLISHED:
        return outcome
    return next((told for _, told in Outcomes(state, lambda: False).wait(letter.service, [letter])), UNKNOWN)
