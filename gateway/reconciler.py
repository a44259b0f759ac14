"""The reconciler: asks whether each accepted command's flow has ended, and repeats the command of one that has not.

A broker can take an event, say so, and lose it; the event that led to it is acknowledged by then, so no redelivery
repairs that. Every step answers a repeated event from its records with the same outputs under the same ids. So a
repeated command heals the flow wherever it broke: each service on the way repeats its outputs, and the one that missed
an event goes on. What has happened is judged by the services' records, never by what the broker still has.
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

from chassis.errors import WorldFault
from chassis.sidecar import HttpSidecar
from gateway.flows import KINDS, FlowKind
from gateway.journal import KEPT_SECONDS, Flow, Journal
from gateway.metrics import ABANDONED, HEALED, REPEATED_COMMANDS
from gateway.problems import Problem
from gateway.promises import OTHERS_SECONDS, Promises, Publish, others_of

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0  # from the request to the first check: a hundred times what a flow takes
BACKOFF_SECONDS_MAX = 3600.0  # between two checks; they are CHECK_SECONDS apart at first, then twice as long each time
STEP_SECONDS = 1.0
RETRY_SECONDS = 5.0  # after a service could not be asked
TIDY_STEPS = 5
IDS_MAX = 100  # flows in one question: 3.7 KB of path
CHECKS_MAX = 1_000  # flows checked in one step
REPEATS_STEP = 2.0  # commands repeated in one step, and one more for each five flows that were found ended:
REPEATS_SHARE = 0.2  # each costs as much as a new order, and a shop on which few flows end may just be slow
REPEATS_MAX = 20.0
ASK_SECONDS_MAX = 2.0
GONE_SECONDS = 600.0  # what the owner does not know by then, and no pending command will make, was rejected
HURRY_SECONDS = 10.0  # a reader hurries a check once in this time


class _Unfinished(msgspec.Struct):
    unfinished: list[str]


class Reconciler:
    """Checks the flows of one replica's journal, and repeats commands."""

    def __init__(
        self,
        sidecar: HttpSidecar,
        journal: Journal,
        promises: Promises,
        now: Callable[[], datetime],
        publish: Publish | None = None,
    ) -> None:
        self._sidecar = sidecar
        self._publish = publish or sidecar.publish
        self._journal = journal
        self._promises = promises
        self._now = now
        self._queue: list[tuple[datetime, int, Flow]] = []
        self._numbers = count()
        self._credit = 0.0  # commands that may be repeated

    # --- Asked by the routes

    def begin(self, kind: FlowKind, resource: str) -> tuple[Flow, bool]:
        """Note a flow that begins; says whether it is new. Raise Problem 503 when too many have not ended."""
        flow, is_new = self._journal.begin(kind.name, resource)
        if is_new:
            self._plan(flow, CHECK_SECONDS)
        return flow, is_new

    def nudge(self, kind: FlowKind, resource: str) -> None:
        """A reader saw that the flow has not ended: check it soon, at most once in HURRY_SECONDS."""
        flow = self._journal.get(kind.name, resource)
        if flow is None:
            with suppress(Problem):  # full: those that are there come first
                flow, _ = self._journal.begin(kind.name, resource, durable=False)
                self._plan(flow, CHECK_SECONDS)
        elif self._now() - (flow.tried or flow.at) >= timedelta(seconds=HURRY_SECONDS):
            flow.tried = self._now()
            self._plan(flow, 0)

    def stuck(self) -> list[Flow]:
        """The flows that had not ended when they were checked, oldest first."""
        return sorted((flow for flow in self._journal.flows() if flow.attempts), key=lambda flow: flow.at)

    async def reconcile(self) -> list[Flow]:
        """Check all flows older than CHECK_SECONDS now and repeat their commands; returns those that have not ended."""
        due = [flow for flow in self._journal.flows() if self._age(flow) >= CHECK_SECONDS]
        for start in range(0, len(due), CHECKS_MAX):
            for flow in await self._unfinished(due[start : start + CHECKS_MAX]):
                await self._repeat(flow)
        return [flow for flow in due if not flow.ended]

    # --- The work

    async def work(self) -> None:
        """Take up the flows that an earlier process left, then check each when it is due, until cancelled."""
        while not self._journal.resumed:
            try:
                self.take_up(await self._journal.resume())
            except WorldFault:  # the sidecar is not up yet
                await asyncio.sleep(STEP_SECONDS)
        steps = 0
        while True:
            await asyncio.sleep(STEP_SECONDS)
            steps += 1
            try:
                await self.step()
                if steps % TIDY_STEPS == 0:
                    await self._journal.tidy()
            except WorldFault as fault:
                log.warning("accepted commands are checked later: %s", fault)
            except Exception:  # one flow that cannot be worked on must not keep the others from healing
                log.exception("a bug in the check of accepted commands")

    def take_up(self, flows: Sequence[Flow]) -> None:
        """Check these flows soon."""
        if flows:
            log.info("%d accepted commands of before the restart are checked", len(flows))
        for flow in flows:
            self._plan(flow, 0)

    async def look_after_others(self, pod_name: str) -> None:
        """Check, from now and then, the flows of replicas that are gone, until cancelled; only the first replica does.

        A replica that is not gone has its flow checked twice, which does no harm.
        """
        seen: dict[str, int] = {}
        while others := others_of(pod_name):
            await asyncio.sleep(OTHERS_SECONDS)
            for other in others:
                try:
                    await self._adopt_from(other, seen)
                except WorldFault as fault:
                    log.warning("what %s accepted is looked after later: %s", other, fault)

    async def _adopt_from(self, other: str, seen: dict[str, int]) -> None:
        flows, _, following = await self._journal.read(other)
        for flow in flows:
            assert flow.batch is not None
            if flow.batch >= seen.get(other, 0) and self._journal.get(flow.kind, flow.resource) is None:
                with suppress(Problem):
                    adopted, _ = self._journal.begin(flow.kind, flow.resource, durable=False)
                    adopted.at = flow.at
                    self._plan(adopted, CHECK_SECONDS)
        seen[other] = following

    async def step(self) -> None:
        """Check the flows that are due, and repeat the commands of those that have not ended."""
        now = self._now()
        due: list[Flow] = []
        while self._queue and self._queue[0][0] <= now and len(due) < CHECKS_MAX:
            at, _, flow = heapq.heappop(self._queue)
            if flow.due == at and not flow.ended:
                due.append(flow)
        unfinished = await self._unfinished(due)
        ended = sum(flow.ended for flow in due)
        self._credit = min(self._credit + REPEATS_STEP + REPEATS_SHARE * ended, REPEATS_MAX)
        for flow in unfinished:
            if self._credit >= 1:
                self._credit -= 1
                await self._repeat(flow)
            else:
                self._plan(flow, STEP_SECONDS)

    async def _unfinished(self, flows: Iterable[Flow]) -> list[Flow]:
        """Ask about flows, forget those that have ended, and return those that have not."""
        of_kind: dict[str, list[Flow]] = defaultdict(list)
        for flow in flows:
            of_kind[flow.kind].append(flow)
        found: list[Flow] = []
        for name, some in of_kind.items():
            for start in range(0, len(some), IDS_MAX):
                found += await self._ask(KINDS[name], some[start : start + IDS_MAX])
        return found

    async def _ask(self, kind: FlowKind, flows: Sequence[Flow]) -> list[Flow]:
        path = f"/unfinished/{kind.name}/{','.join(flow.resource for flow in flows)}"
        unfinished: set[str] = set()
        try:
            for app_id in kind.ends_at:
                answer = await self._sidecar.invoke(app_id, path, ASK_SECONDS_MAX)
                if answer.status != 200:
                    raise WorldFault(f"{app_id} does not say what is unfinished: {answer}")
                unfinished.update(msgspec.json.decode(answer.body, type=_Unfinished).unfinished)
        except (WorldFault, ValueError) as fault:
            log.warning("%d accepted commands are checked later: %s", len(flows), fault)
            for flow in flows:
                self._plan(flow, RETRY_SECONDS)
            return []
        for flow in flows:
            flow.tried = self._now()
            if flow.resource not in unfinished:
                self._journal.end(flow)
                if flow.attempts:
                    HEALED[flow.kind].inc()
        return [flow for flow in flows if not flow.ended]

    async def _repeat(self, flow: Flow) -> None:
        """Publish the command again; what the owner does not know and no pending command will make, is forgotten."""
        kind = KINDS[flow.kind]
        if self._age(flow) > KEPT_SECONDS:
            log.error(
                "%s %s has not ended after %d days and is given up", kind.name, flow.resource, KEPT_SECONDS // 86400
            )
            ABANDONED[flow.kind].inc()
            self._journal.end(flow)
            return
        try:
            answer = await self._sidecar.invoke(kind.owner, kind.location(flow.resource), ASK_SECONDS_MAX)
            if answer.status == 404:
                await self._without_owner(kind, flow)
                return
            if answer.status != 200:
                raise WorldFault(f"{kind.owner} does not answer: {answer}")
            made = kind.command(flow.resource, answer.body)
            await self._publish(made.topic, made.event)
        except (WorldFault, ValueError) as fault:
            log.warning("%s %s has not ended; its command is repeated later: %s", kind.name, flow.resource, fault)
            self._plan(flow, RETRY_SECONDS)
            return
        flow.attempts += 1
        REPEATED_COMMANDS[flow.kind].inc()
        log.warning("%s %s had not ended: its command was published again", kind.name, flow.resource)
        self._plan(flow, min(CHECK_SECONDS * 2.0 ** (flow.attempts - 1), BACKOFF_SECONDS_MAX))

    async def _without_owner(self, kind: FlowKind, flow: Flow) -> None:
        """The owner has no such resource: a pending command may still make it, or it was rejected."""
        if self._age(flow) > GONE_SECONDS:
            record = await self._promises.look(kind.location(flow.resource))
            if record is None or not (record.pending or record.is_kept):
                self._journal.end(flow)
                return
        self._plan(flow, max(CHECK_SECONDS, self._age(flow)))

    def _age(self, flow: Flow) -> float:
        return (self._now() - flow.at).total_seconds()

    def _plan(self, flow: Flow, seconds: float) -> None:
        flow.due = self._now() + timedelta(seconds=seconds)
        heapq.heappush(self._queue, (flow.due, next(self._numbers), flow))
