"""The schedule of faults, drawn from a seed; each target is hit at least once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FREEZE_SECONDS = 21.0  # longer than every time-out of the tests
SHORT_FREEZE_SECONDS = (1.0, 7.0)
STORM_FREEZE_SECONDS = 1.0
STORM_KILL_SECONDS = (0.02, 0.25)  # after the pause: while the backlog is being processed
STORM_STUCK_SECONDS = (0.6, 0.9)  # into the pause: while the backlog grows
FIRST_SECONDS = 6.0
LAST_SHARE = 0.97

Kind = Literal[
    "kill",
    "freeze",
    "lossy",  # clients' data is dropped for a moment, then their connections are reset
    "silent",  # half-open: the connections carry no data and do not end
    "cut",  # connections are reset
    "slow",
    "rollback",  # the broker loses its last second of events
    "alarm",  # the broker is out of memory
    "read-only",
    "full-disk",
    "unparseable",  # a message that cannot be parsed
    # in a cluster
    "pod-kill",  # without a grace period
    "container-kill",  # one process of a pod, such as the sidecar alone
    "out-of-memory",
    "eviction",
    "drain",  # of a node
]

LOSSY_EVERY_SECONDS = (1.0, 3.0)
LOSSY_SECONDS = 0.4  # duration of the dropping before the connections are reset
LOSSY_SHARE = 0.4  # of the connections
SILENT_SHARE = CUT_SHARE = 0.5
SLOW_SECONDS = 0.3  # in each direction
NETWORK_SECONDS = (2.0, 6.0)
NETWORK_EVERY_SECONDS = (1.0, 3.0)
# a fault takes a quarter to three fifths of it; the rest is time to recover
REFUSAL_EVERY_SECONDS = 14.0
ROLLBACK_EVERY_SECONDS = 12.0
UNPARSEABLE_EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault on some processes at once, some seconds after the start."""

    at: float
    kind: Kind
    targets: tuple[str, ...]
    seconds: float = 0.0
    """The duration of the fault."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The number of faults of each kind, and the duration of the schedule."""

    seconds: float
    kills: int
    freezes: int
    short_freezes: int
    several: int
    """The number of times that three processes are killed at once."""
    everything: tuple[Kind, ...] = ("kill", "freeze")


FULL = Shape(seconds=250, kills=30, freezes=6, short_freezes=8, several=3)
SHORT = Shape(seconds=55, kills=10, freezes=1, short_freezes=3, several=1, everything=("kill",))


def schedule(seed: int, targets: Sequence[str], shape: Shape) -> list[Fault]:
    """Draw a schedule; the same seed and targets give the same schedule."""
    rng = random.Random(f"faults {seed}")

    def by_turns(number: int) -> list[str]:
        """Draw targets at random, each once before any target twice."""
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
    # in the middle half of the schedule, with time to recover afterwards
    for kind in shape.everything:
        planned.insert(rng.randrange(len(planned) // 4, 3 * len(planned) // 4), (kind, tuple(targets), FREEZE_SECONDS))
    step = (shape.seconds * LAST_SHARE - FIRST_SECONDS) / len(planned)
    return [
        Fault(FIRST_SECONDS + step * (number + rng.random()), kind, names, seconds if kind == "freeze" else 0.0)
        for number, (kind, names, seconds) in enumerate(planned)
    ]


def storm(
    seed: int, killed: Sequence[tuple[str, ...]], frozen: str | None, times: int, seconds: float, *, stuck: bool
) -> list[Fault]:
    """Kill the same few processes again and again; the groups take turns, and a group dies at once.

    With `frozen`, the process that the victims wait for is paused before each kill. Normally the
    kill follows right after the pause. The whole backlog is then in progress, so that a victim dies
    between a save and its consequences. With `stuck`, the kill happens during the pause, while
    requests have arrived and are not processed.
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
    """Drop data sent to these servers for a moment, then reset: repeatedly, on a share of the
    connections.
    """
    rng = random.Random(f"lossy {seed}")
    faults = []
    at = FIRST_SECONDS / 2
    while at < seconds * LAST_SHARE:
        faults.append(Fault(at, "lossy", tuple(targets), LOSSY_SECONDS))
        at += rng.uniform(*LOSSY_EVERY_SECONDS)
    return faults


def network(seed: int, targets: Sequence[str], seconds: float) -> list[Fault]:
    """Cut, slow or half-open the connections of one target after the other, each once before any
    target twice.
    """
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
    """Make servers refuse writes, one kind after the other, without overlap.

    The seed decides the sequence; each kind happens once before any kind twice.
    """
    rng = random.Random(f"refusals {seed}")
    number = max(len(kinds), int(seconds / REFUSAL_EVERY_SECONDS))
    turns: list[tuple[Kind, tuple[str, ...]]] = []
    while len(turns) < number:
        turns += rng.sample(list(kinds), len(kinds))
    step = (seconds * LAST_SHARE - FIRST_SECONDS / 2) / number
    return [
        Fault(FIRST_SECONDS / 2 + step * (each + 0.2 * rng.random()), *turns[each], rng.uniform(0.25, 0.6) * step)
        for each in range(number)
    ]


def rollbacks(seed: int, target: str, seconds: float) -> list[Fault]:
    """Roll the target back by one second, repeatedly."""
    return _repeated(seed, "rollback", [target], int(seconds / ROLLBACK_EVERY_SECONDS), seconds)


def unparseable(seed: int, topics: Sequence[str], seconds: float) -> list[Fault]:
    """Plant an unparseable message on one topic after the other, on each at least once."""
    return _repeated(seed, "unparseable", topics, int(seconds / UNPARSEABLE_EVERY_SECONDS), seconds)


def _repeated(seed: int, kind: Kind, targets: Sequence[str], number: int, seconds: float) -> list[Fault]:
    """Repeat one kind of fault on one target after the other, each at least once."""
    rng = random.Random(f"{kind} {seed}")
    number = max(len(targets), number)
    turns: list[str] = []
    while len(turns) < number:
        turns += rng.sample(list(targets), len(targets))
    step = (seconds * LAST_SHARE - FIRST_SECONDS / 2) / number
    return [Fault(FIRST_SECONDS / 2 + step * (each + rng.random()), kind, (turns[each],)) for each in range(number)]


def count(faults: Sequence[Fault]) -> int:
    """Return the number of faults; each hit process counts."""
    return sum(len(fault.targets) for fault in faults)
