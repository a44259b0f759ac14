"""The replay and the discard of one dead letter, as a run does it, without an audit trail."""

from __future__ import annotations

from sidecart.launcher import claims
from sidecart.launcher.claims import Run
from sidecart.launcher.dead_letter_runs import UNKNOWN
from sidecart.launcher.dead_letters import DeadLetter, State
from sidecart.launcher.replays import PUBLISHED, Outcomes, publish_again


def replay(state: State, letter: DeadLetter, number: int = 0) -> str:
    """Publish the event again in a run of this number; return the outcome that its service
    tells.
    """
    run = Run(state, number)
    outcome = publish_again(state, run, letter)
    if outcome != PUBLISHED:
        return outcome
    return next((told for _, told in Outcomes(state, run, lambda: False).wait(letter.service, [letter])), UNKNOWN)


def discard(state: State, letter: DeadLetter, number: int = 0) -> str:
    """Discard the dead letter in a run of this number."""
    return claims.discard(Run(state, number), letter)
