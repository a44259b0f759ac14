"""The reconciler: checks whether the flow of each accepted command has ended, and repeats commands.

A broker can accept an event, confirm it, and lose it. By then the event that led to it is
acknowledged, so no redelivery repairs the loss. Every step answers a repeated event from its
records, with the same outputs under the same ids. A repeated command therefore heals the flow
wherever it broke. Each service on the way repeats its outputs, and the service that missed an event
goes on. The reconciler judges by the services' records, never by the events that the broker still
has.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.flows import FlowKind, Flows
from sidecart.edge.journal import RETENTION_SECONDS, Flow, Journal
from sidecart.edge.journal_recovery import resume, tidy
from sidecart.edge.metrics import ABANDONED, HEALED, REPEATED_COMMANDS
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_worker import Publish
from sidecart.edge.problems import Problem

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0  # from the request to the first check: a hundred times the duration of a flow
BACKOFF_SECONDS_MAX = 3600.0  # between two checks; the interval starts at CHECK_SECONDS and doubles
EARLY_SECONDS = 5.0  # a check includes the flows that are due within this time, so checks are few
STEP_SECONDS = 1.0
RETRY_SECONDS = 5.0  # after a service did not answer
TIDY_STEPS = 5
IDS_MAX = 100  # flows in one call: 3.7 KB of path
CHECKS_MAX = 1_000  # flows checked in one step
# A repeated command costs as much as a new one. A system in which few flows end may just be slow.
REPEATS_STEP = 2.0  # commands that each step may repeat
REPEATS_SHARE = 0.2  # and for each flow that the step found ended
REPEATS_MAX = 20.0  # commands in one step, with the unused ones of earlier steps
ASK_SECONDS_MAX = 2.0
GONE_SECONDS = 600.0  # a resource that by then neither exists nor is pending was rejected
HURRY_SECONDS = 10.0  # between two early checks of a flow that reads trigger


class _Unfinished(msgspec.Struct):
    unfinished: list[str]


class Reconciler:
    """Checks the flows in one replica's journal and repeats their commands."""

    def __init__(
        self,
        sidecar: Sidecar,
        journal: Journal,
        pending_commands: PendingCommands,
        flows: Flows,
        now: Callable[[], datetime],
        publish: Publish | None = None,
    ) -> None:
        self.flows = flows
        self._sidecar = sidecar
        self._publish = publish or sidecar.publish
        self._journal = journal
        self._pending_commands = pending_commands
        self._now = now
        self._queue: list[tuple[datetime, int, Flow]] = []
        self._sequence = count()
        self._credit = 0.0  # commands that may be repeated

    # --- Called by the routes

    def check_soon(self, kind: FlowKind, resource: str) -> None:
        """Check a flow soon, because a read found it unfinished; at most once in HURRY_SECONDS."""
        flow = self._journal.get(kind.name, resource)
        if flow is None:
            with suppress(Problem):  # the journal is full: known flows have priority
                flow, _ = self._journal.add(kind.name, resource, durable=False)
                self._plan(flow, CHECK_SECONDS)
        elif self._now() - (flow.checked_at or flow.at) >= timedelta(seconds=HURRY_SECONDS):
            flow.checked_at = self._now()
            self._plan(flow, 0)

    def stuck(self) -> list[Flow]:
        """Return the flows that had not ended when they were checked, oldest first."""
        return sorted((flow for flow in self._journal.flows() if flow.attempts), key=lambda flow: flow.at)

    async def reconcile(self) -> list[Flow]:
        """Check all flows older than CHECK_SECONDS now, and repeat the commands of unfinished ones.

        Return the flows that have not ended.
        """
        due = [flow for flow in self._journal.flows() if self._age(flow) >= CHECK_SECONDS]
        for start in range(0, len(due), CHECKS_MAX):
            for flow in await self._unfinished(due[start : start + CHECKS_MAX]):
                await self._repeat(flow)
        return [flow for flow in due if not flow.ended]

    # --- Background work

    async def work(self) -> None:
        """Load the flows of an earlier process, then check each when it is due, until cancelled."""
        while not self._journal.resumed:
            try:
                self.schedule_checks(await resume(self._journal))
            except TransientError:  # the sidecar is not up yet
                await asyncio.sleep(STEP_SECONDS)
        steps = 0
        while True:
            await asyncio.sleep(STEP_SECONDS)
            steps += 1
            try:
                await self.step()
                if steps % TIDY_STEPS == 0:
                    await tidy(self._journal)
            except TransientError as fault:
                log.warning("the check of accepted commands failed; retrying: %s", fault)
            except Exception:  # an error in one flow must not stop the repair of the others
                log.exception("unexpected error in the check of accepted commands")

    def schedule_checks(self, flows: Sequence[Flow]) -> None:
        """Schedule a check of each flow now."""
        if flows:
            log.info("checking %d accepted commands from before the restart", len(flows))
        for flow in flows:
            self._plan(flow, 0)

    async def step(self) -> None:
        """Check the flows that are due, and repeat the commands of those that have not ended."""
        for flow in self._journal.take_unscheduled():
            if flow.due is None:
                self._plan(flow, CHECK_SECONDS - self._age(flow))
        due = self._take_due(0, CHECKS_MAX)
        early = self._take_due(EARLY_SECONDS, CHECKS_MAX - len(due)) if due else {}
        unfinished = await self._unfinished({**due, **early})
        ended = sum(flow.ended for flow in {**due, **early})
        self._credit = min(self._credit + REPEATS_STEP + REPEATS_SHARE * ended, REPEATS_MAX)
        for flow in unfinished:
            if flow in early:
                self._queue_check(flow, early[flow])
            elif self._credit >= 1:
                self._credit -= 1
                await self._repeat(flow)
            else:
                self._plan(flow, STEP_SECONDS)

    def _take_due(self, within_seconds: float, flows_max: int) -> dict[Flow, datetime]:
        until, found = self._now() + timedelta(seconds=within_seconds), dict[Flow, datetime]()
        while self._queue and self._queue[0][0] <= until and len(found) < flows_max:
            at, _, flow = heapq.heappop(self._queue)
            if flow.due == at and not flow.ended:
                found[flow] = at
        return found

    async def _unfinished(self, flows: Iterable[Flow]) -> list[Flow]:
        """Ask the services about flows, forget those that have ended, and return the others."""
        of_kind: dict[str, list[Flow]] = defaultdict(list)
        for flow in flows:
            of_kind[flow.kind].append(flow)
        found: list[Flow] = []
        for name, some in of_kind.items():
            for start in range(0, len(some), IDS_MAX):
                found += await self._ask(self.flows.by_name[name], some[start : start + IDS_MAX])
        return found

    async def _ask(self, kind: FlowKind, flows: Sequence[Flow]) -> list[Flow]:
        path = f"/unfinished/{kind.name}/{','.join(flow.resource for flow in flows)}"
        unfinished: set[str] = set()
        try:
            for app_id in kind.ends_at:
                answer = await self._sidecar.invoke(app_id, path, ASK_SECONDS_MAX)
                if answer.status != 200:
                    raise TransientError(f"{app_id} does not list the unfinished flows: {answer}")
                unfinished.update(msgspec.json.decode(answer.body, type=_Unfinished).unfinished)
        except (TransientError, ValueError) as fault:
            log.warning("the check of %d accepted commands failed; retrying: %s", len(flows), fault)
            for flow in flows:
                self._plan(flow, RETRY_SECONDS)
            return []
        for flow in flows:
            flow.checked_at = self._now()
            if flow.resource not in unfinished:
                self._journal.end(flow)
                if flow.attempts:
                    HEALED.labels(flow.kind).inc()
        return [flow for flow in flows if not flow.ended]

    async def _repeat(self, flow: Flow) -> None:
        """Publish the command of a flow again.

        End the flow instead if it is too old, or if its resource will never exist.
        """
        kind = self.flows.by_name[flow.kind]
        if self._age(flow) > RETENTION_SECONDS:
            log.error(
                "%s %s has not ended after %d days and is abandoned",
                kind.name,
                flow.resource,
                RETENTION_SECONDS // 86400,
            )
            ABANDONED.labels(flow.kind).inc()
            self._journal.end(flow)
            return
        try:
            answer = await self._sidecar.invoke(kind.owner, kind.location(flow.resource), ASK_SECONDS_MAX)
            if answer.status == 404:
                await self._handle_missing_resource(kind, flow)
                return
            if answer.status != 200:
                raise TransientError(f"{kind.owner} does not answer: {answer}")
            command = kind.command(flow.resource, answer.body, self._now())
            await self._publish(command.topic, command.event)
        except (TransientError, ValueError) as fault:
            log.warning("%s %s has not ended; its command will be repeated later: %s", kind.name, flow.resource, fault)
            self._plan(flow, RETRY_SECONDS)
            return
        flow.attempts += 1
        REPEATED_COMMANDS.labels(flow.kind).inc()
        log.warning("%s %s had not ended: its command was published again", kind.name, flow.resource)
        self._plan(flow, min(CHECK_SECONDS * 2.0 ** (flow.attempts - 1), BACKOFF_SECONDS_MAX))

    async def _handle_missing_resource(self, kind: FlowKind, flow: Flow) -> None:
        """Handle a resource that its owner does not know.

        A pending command may still create it, or the command was rejected.
        """
        if self._age(flow) > GONE_SECONDS:
            record = await self._pending_commands.find(kind.location(flow.resource))
            if record is None or not (record.pending or record.is_confirmed):
                self._journal.end(flow)
                return
        self._plan(flow, max(CHECK_SECONDS, self._age(flow)))

    def _age(self, flow: Flow) -> float:
        return (self._now() - flow.at).total_seconds()

    def _plan(self, flow: Flow, seconds: float) -> None:
        self._queue_check(flow, self._now() + timedelta(seconds=seconds))

    def _queue_check(self, flow: Flow, at: datetime) -> None:
        flow.due = at
        heapq.heappush(self._queue, (at, next(self._sequence), flow))
