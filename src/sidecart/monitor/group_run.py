"""The page's run on a group of dead letters: at most one at a time, in a thread, and stoppable."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sidecart.launcher.audit import Operator
from sidecart.launcher.dead_letter_groups import require_group
from sidecart.launcher.dead_letter_runs import perform, select
from sidecart.launcher.dead_letters import DeadLetter, Filter, State
from sidecart.launcher.errors import LaunchError

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5
"""The pause between two notices about the progress."""
RUNNING, ENDED, STOPPED, FAILED = "running", "ended", "stopped", "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """A run, as the page shows it."""

    action: str
    group: str
    state: str
    total: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    """Why it failed."""


class GroupRun:
    """Replays or discards one group after the other; `notify` receives the progress."""

    def __init__(self, state: State, notify: Callable[[Progress], None], changed: Callable[[], None]) -> None:
        self._state = state
        self._notify = notify
        self._changed = changed
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, action: str, group: str, operator: Operator) -> Progress:
        """Start a run; raise LaunchError if another one is running."""
        if self._task is not None and not self._task.done():
            raise LaunchError("a group is being replayed or discarded: wait, or stop it")
        begun = Progress(action, group, RUNNING)
        self._stop.clear()
        self._task = asyncio.create_task(self._run(begun, operator))
        return begun

    def stop(self) -> None:
        """End the current run after the current dead letter."""
        self._stop.set()

    async def close(self) -> None:
        """Stop the current run, and wait until its entry of the audit trail is complete."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, begun: Progress, operator: Operator) -> None:
        loop = asyncio.get_running_loop()

        def notify(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._notify, progress)

        try:
            await asyncio.to_thread(self._act, begun, operator, notify)
        except Exception:  # a bug must not leave a run that never ends on the page
            log.exception("unexpected error in the %s of group %s", begun.action, begun.group)
            self._notify(replace(begun, state=FAILED, why="unexpected error: see the log of the page"))
        finally:
            self._changed()

    def _act(self, begun: Progress, operator: Operator, notify: Callable[[Progress], None]) -> None:
        outcomes, noticed = Counter[str](), time.monotonic()
        try:
            require_group(self._state, begun.group)
            selection = select(self._state, Filter(group=begun.group))
            progress = replace(begun, total=len(selection.ids))
            notify(progress)

            def report(_letter: DeadLetter, outcome: str, _why: str) -> None:
                nonlocal noticed
                outcomes[outcome] += 1
                if time.monotonic() - noticed > PROGRESS_SECONDS:
                    noticed = time.monotonic()
                    notify(replace(progress, outcomes=dict(outcomes)))

            found = perform(self._state, begun.action, selection, operator, report, self._stop.is_set)
        except LaunchError as error:
            notify(replace(begun, state=FAILED, outcomes=dict(outcomes), why=str(error)))
        else:
            ended = STOPPED if self._stop.is_set() else ENDED
            notify(replace(progress, state=ended, outcomes=dict(found)))
