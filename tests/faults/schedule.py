"""Which fault happens when: drawn from a seed, each part of the shop at least once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FREEZE_SECONDS = 21.0  # longer than every time-out of the tests
SHORT_FREEZE_SECONDS = (1.0, 7.0)
STORM_FREEZE_SECONDS = 1.0
STORM_KILL_SECONDS = (0.02, 0.25)  # after the thaw: while what has piled up is worked off
STORM_STUCK_SECONDS = (0.6, 0.9)  # of the freeze: so long does what is sent meanwhile pile up
FIRST_SECONDS = 6.0
LAST_SHARE = 0.97

Kind = Literal[
    "kill",
    "freeze",
    "lossy",  # what clients send is thrown away for a moment, then they are reset
    "silent",  # half-open: connections on which nothing comes any more, and which do not end
    "cut",  # reset
    "slow",
    "rollback",  # the last second of what the broker was told is gone
    "alarm",  # the broker has no memory for more
    "read-only",
    "full-disk",
    "unparseable",  # a message that nothing can parse
]

LOSSY_EVERY_SECONDS = (1.0, 3.0)
LOSSY_SECONDS = 0.4  # so long is what clients send thrown away, before their connections are reset
LOSSY_SHARE = 0.4  # of the connections
SILENT_SHARE = CUT_SHARE = 0.5
SLOW_SECONDS = 0.3  # each way
NETWORK_SECONDS = (2.0, 6.0)
NETWORK_EVERY_SECONDS = (1.0, 3.0)
REFUSAL_EVERY_SECONDS = 14.0  # a quarter to three fifths of that each; the rest is to recover
ROLLBACK_EVERY_SECONDS = 12.0
UNPARSEABLE_EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to some processes at once, so many seconds after the start."""

    at: float
    kind: Kind
    targets: tuple[str, ...]
    seconds: float = 0.0
    """How long it lasts."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of what, within how long."""

    seconds: float
    kills: int
    freezes: int
    short_freezes: int
    several: int
    """How often three are killed at once."""
    everything: tuple[Kind, ...] = ("kill", "freeze")


FULL = Shape(seconds=250, kills=30, freezes=6, short_freezes=8, several=3)
SHORT = Shape(seconds=55, kills=10, freezes=1, short_freezes=3, several=1, everything=("kill",))


def schedule(seed: int, targets: Sequence[str], shape: Shape) -> list[Fault]:
    """Draw it; the same seed and targets give the same."""
    rng = random.Random(f"faults {seed}")

    def by_turns(number: int) -> list[str]:
        """Everybody once before anybody twice."""
        drawn: list[str] = []
        while len(drawn) < number:
            drawn += rng.sample(list(targets), len(targets))
        return drawn[:number]

    planned: list[tuple[Kind, tuple[str, ...], float]] = [
        *(("kill", (name,), 0.0) for name in by_turns(shape.kills)),
        *(("freeze", (name,), FREEZE_SECONDS) for name in by_turns(shape.freezes)),
        *(("freeze", (name,), rng.uniform(*SHORT_FREEZE_SECONDS)) for name in by_turns(shape.short_freezes)),
        *(("kill", tuple(sorted(rng.sample(list(targets), 3))), 0.0) for _ in range(shape.several)),
    ]
    rng.shuffle(planned)
    for kind in shape.everything:  # well inside, with time to recover after it
        planned.insert(rng.randrange(len(planned) // 4, 3 * len(planned) // 4), (kind, tuple(targets), FREEZE_SECONDS))
    step = (shape.seconds * LAST_SHARE - FIRST_SECONDS) / len(planned)
    return [
        Fault(FIRST_SECONDS + step * (number + rng.random()), kind, names, seconds if kind == "freeze" else 0.0)
        for number, (kind, names, seconds) in enumerate(planned)
    ]


def storm(
    seed: int, killed: Sequence[tuple[str, ...]], frozen: str | None, times: int, seconds: float, *, stuck: bool
) -> list[Fault]:
    """Kill the same few again and again, so many times; the rounds take turns, and all of one round die at once.

    What they wait for is paused before, if anything does. They die right after it goes on: all that has piled up is
    then under way at once, so that somebody dies between a save and what it leads to. If `stuck`, they die while it
    still stands: with all that has been said to them and was not done.
    """
    rng = random.Random(f"storm {seed}")
    faults = []
    for number in range(times):
        at = FIRST_SECONDS / 2 + (number + 0.3 * rng.random()) * seconds / times
        if frozen is not None:
            faults.append(Fault(at, "freeze", (frozen,), STORM_FREEZE_SECONDS))
        if stuck:
            at += STORM_FREEZE_SECONDS * rng.uniform(*STORM_STUCK_SECONDS)
        else:
            at += STORM_FREEZE_SECONDS + rng.uniform(*STORM_KILL_SECONDS)
        faults.append(Fault(at, "kill", killed[number % len(killed)]))
    return faults


def lossy(seed: int, targets: Sequence[str], seconds: float) -> list[Fault]:
    """Lose what is sent to these servers for a moment, then reset: again and again, on some connections each time."""
    rng = random.Random(f"lossy {seed}")
    faults = []
    at = FIRST_SECONDS / 2
    while at < seconds * LAST_SHARE:
        faults.append(Fault(at, "lossy", tuple(targets), LOSSY_SECONDS))
        at += rng.uniform(*LOSSY_EVERY_SECONDS)
    return faults


def network(seed: int, targets: Sequence[str], seconds: float) -> list[Fault]:
    """Cut connections, slow them, leave them half-open: of one target after the other, each once before any twice."""
    rng = random.Random(f"network {seed}")
    kinds: tuple[Kind, ...] = ("cut", "silent", "slow")
    faults: list[Fault] = []
    at = FIRST_SECONDS / 2
    while at < seconds * LAST_SHARE:
        turn = [(rng.choice(kinds), target) for target in rng.sample(list(targets), len(targets))]
        for kind, target in turn:
            if at < seconds * LAST_SHARE:
                faults.append(Fault(at, kind, (target,), 0.0 if kind == "cut" else rng.uniform(*NETWORK_SECONDS)))
            at += rng.uniform(*NETWORK_EVERY_SECONDS)
    return faults


def refusals(seed: int, kinds: Sequence[tuple[Kind, tuple[str, ...]]], seconds: float) -> list[Fault]:
    """One kind after the other, in an order that the seed decides: each once before any twice, no two at once."""
    rng = random.Random(f"refusals {seed}")
    number = max(len(kinds), int(seconds / REFUSAL_EVERY_SECONDS))
    order: list[tuple[Kind, tuple[str, ...]]] = []
    while len(order) < number:
        order += rng.sample(list(kinds), len(kinds))
    step = (seconds * LAST_SHARE - FIRST_SECONDS / 2) / number
    return [
        Fault(FIRST_SECONDS / 2 + step * (each + 0.2 * rng.random()), *order[each], rng.uniform(0.25, 0.6) * step)
        for each in range(number)
    ]


def rollbacks(seed: int, target: str, seconds: float) -> list[Fault]:
    """Take the last second away again and again."""
    return _repeated(seed, "rollback", [target], int(seconds / ROLLBACK_EVERY_SECONDS), seconds)


def unparseable(seed: int, topics: Sequence[str], seconds: float) -> list[Fault]:
    """Put a message that nothing can parse on one topic after the other; on each at least once."""
    return _repeated(seed, "unparseable", topics, int(seconds / UNPARSEABLE_EVERY_SECONDS), seconds)


def _repeated(seed: int, kind: Kind, targets: Sequence[str], number: int, seconds: float) -> list[Fault]:
    """The same to one target after the other, each once before any twice, and at least once."""
    rng = random.Random(f"{kind} {seed}")
    number = max(len(targets), number)
    order: list[str] = []
    while len(order) < number:
        order += rng.sample(list(targets), len(targets))
    step = (seconds * LAST_SHARE - FIRST_SECONDS / 2) / number
    return [Fault(FIRST_SECONDS / 2 + step * (each + rng.random()), kind, (order[each],)) for each in range(number)]


def count(faults: Sequence[Fault]) -> int:
    """How many faults these are: each process that was hit counts."""
    return sum(len(fault.targets) for fault in faults)
