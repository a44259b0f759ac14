"""Simulates a store with ETags, a lossy broker and process crashes around the real services.

The real reconciler of the gateway runs too. Every call of a service waits for the scheduler, which
executes the calls in an order that the seed decides. These faults happen:

- A call takes effect and its response is lost, or the call is refused.
- A process dies before or after a call.
- A publish vanishes together with the acknowledgement of the event whose handling published it.
- A publish vanishes alone, after the broker confirmed it.
- The broker loses all events that it holds.
- An event arrives twice, late, or at any replica.
- The store of one service refuses writes for a time.

After the faults the broker delivers all events, and the reconciler checks the accepted commands
until no work is left. `checks.py` then checks the invariants.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import msgspec

from gateway.app import SHOP
from services.billing import app as billing_app
from services.billing.app import SERVICE as BILLING
from services.notification import app as notification_app
from services.notification.app import SERVICE as NOTIFICATION
from services.notification.events import EmailRequested
from services.notification.mail.mailer import Mailer
from services.notification.mail.outcome import SENT, Result, Withdrawn
from services.notification.mail.retry_queue import INDEX, MailRetryQueue
from services.notification.mail.server import Connector, MailServer
from services.notification.mail.session import Connections, Session
from services.notification.settings import Settings as MailSettings
from services.order import app as order_app
from services.order.app import service as order_service
from services.user import app as user_app
from services.user.app import SERVICE as USER
from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import Conflict, PermanentError, SidecarUnavailable, TransientError, WriteRefused
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.server.serve import Read
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import HttpSidecar
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.chassis.store_health import StoreHealth
from sidecart.edge.flows import Flows
from sidecart.edge.journal import Flow, Journal
from sidecart.edge.journal_recovery import resume, tidy
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.reconciler import Reconciler

PAY_WITHIN = timedelta(minutes=15)
SERVICES: dict[str, Service[Any, Any]] = {
    "user": USER,
    "billing": BILLING,
    "order": order_service(PAY_WITHIN),
    "notification": NOTIFICATION,
}
CONSUMERS: dict[str, list[str]] = defaultdict(list)
for _name, _service in SERVICES.items():
    for _topic in _service.inputs:
        CONSUMERS[_topic].append(_name)
CONSUMERS["EmailRequested"].append("notification")

GATEWAY = "gateway"
CHECK_PAUSE = timedelta(seconds=20)  # the clock advances by this when only a check is left
REPLICAS = 2
PACES = (0, 0, 0, 1, 30), (0, 0, 0, 0, 1)  # seconds between two steps: fast or slow aging of events
IN_FLIGHT_MAX = 8
STEPS_MAX = 20_000  # of one seed; a world that needs more will never come to rest
# A pseudo topic: one poll of the mail retry queue. It runs only when no other work is left.
MAIL_RETRY = "mail retry"
SERVER = MailServer("localhost", 25, tls=False, username=None, password=None)

MAIL_SETTINGS = MailSettings(SERVER, "shop@localhost", timedelta(minutes=1), timedelta(hours=1))

MakeProcessor = Callable[..., EventProcessor[Any, Any]]


@dataclass(frozen=True, slots=True)
class Faults:
    """The probability of each fault at one step, while faults last."""

    death: float = 0.02
    lost_answer: float = 0.02  # a call that takes effect and reports a failure
    refused: float = 0.02  # a call that fails without effect
    vanish: float = 0.04  # a publish that is confirmed and lost, with the ack of its cause
    lost: float = 0.06  # a publish that is confirmed and lost, without another fault
    wiped: float = 0.001  # the broker loses all events
    duplicate: float = 0.05
    steps: int = 400  # the number of steps with faults
    refusal_steps: int = 80  # steps in which the store of one service refuses all writes


CALM = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(slots=True, eq=False)
class Delivery:
    """One event for one app, until its acknowledgement."""

    app: str
    topic: str
    body: bytes
    ack_is_lost: bool = False
    task: asyncio.Task[None] | None = None
    replica: Replica | Gateway | None = None
    work: Callable[[], Awaitable[None]] | None = None
    """The background work of the gateway; None for an event."""


@dataclass(slots=True, eq=False)
class Call:
    """A call that waits for the scheduler."""

    effect: Callable[[], Any]
    done: asyncio.Future[Any]
    delivery: Delivery
    can_fail: bool = True


@dataclass(slots=True, eq=False)
class Replica:
    """One process of one service, with the memory that a crash loses."""

    app: str
    processor: EventProcessor[Any, Any]
    mailer: Mailer | None


class Gateway:
    """The gateway process: its journal and reconciler, with the memory that a crash loses."""

    def __init__(self, world: World) -> None:
        sidecar = cast(HttpSidecar, SimulatedSidecar(world, GATEWAY))
        self.journal = Journal(sidecar, "gateway-0", lambda: world.now)
        self.reconciler = Reconciler(
            sidecar, self.journal, PendingCommands(sidecar, "gateway-0", lambda: world.now), FLOWS, lambda: world.now
        )
        self.flows: dict[str, Flow] = {}  # by command id

    async def work(self) -> None:
        """Run one round of the gateway's background tasks."""
        if not self.journal.resumed:
            self.reconciler.schedule_checks(await resume(self.journal))
        await self.journal.flush()
        await self.reconciler.step()
        await tidy(self.journal)

    def accept(self, command: Command) -> None:
        """Add the command to the journal before it is published."""
        kind = FLOWS.by_topic.get(command.topic)
        if kind is not None:
            self.flows[command.id], _ = self.journal.add(kind.name, command.resource)

    def has_written(self, command: Command) -> bool:
        """Return whether the journal has saved the command; the caller may then get an answer."""
        flow = self.flows.get(command.id)
        return command.topic not in FLOWS.by_topic or (flow is not None and (flow.batch is not None or flow.ended))


@dataclass(slots=True)
class Command:
    """The command of a caller, who repeats it until the gateway answers."""

    topic: str
    id: str
    body: bytes
    attempts: int = 0
    replies: set[str] = field(default_factory=set)
    answered: bool = False

    @property
    def resource(self) -> str:
        """The id of the resource that the command creates."""
        subject: str = msgspec.json.decode(self.body)["subject"]
        return subject


FLOWS = Flows(SHOP)
CURRENT: ContextVar[Delivery] = ContextVar("CURRENT")


class World:
    """The simulated world of one seed."""

    def __init__(
        self,
        seed: int,
        commands: list[Command],
        faults: Faults,
        make_processor: MakeProcessor = SpeculativeProcessor,
        honours_etags: bool = True,
        replicas: int = REPLICAS,
        heals: bool = True,
        journals: bool = True,
    ) -> None:
        self.random = random.Random(seed)
        self.commands = commands
        self.faults = faults
        self.stores: dict[str, dict[str, tuple[bytes, int]]] = {name: {} for name in (*SERVICES, GATEWAY)}
        self.published: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.mails: Counter[str] = Counter()
        self.dead_letters: list[str] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.writes_refused = 0
        refusal = random.Random(f"refusal {seed}")  # separate: keeps a seed's other faults the same
        begin = refusal.randrange(max(1, faults.steps - faults.refusal_steps))
        self._refusing = refusal.choice(list(SERVICES)), range(begin, begin + faults.refusal_steps)
        self._make_processor = make_processor
        self._honours_etags = honours_etags
        self._heals = heals
        self._journals = journals
        self._queue: list[Delivery] = []
        self._in_flight: list[Delivery] = []
        self._calls: list[Call] = []
        self._versions = 0
        self._counts_by_key = seed % 2 == 0  # like Redis; PostgreSQL numbers all writes
        # Callers repeat answered commands, or leave all repair to the shop.
        self._repeats = seed // 4 % 2 == 0
        self._pace = PACES[seed // 2 % 2]
        self._steps = 0
        self._processes_started = 0
        self._replicas = {name: [self._process(name) for _ in range(replicas)] for name in SERVICES}
        self._gateway = Gateway(self)

    # --- The run

    def run(self) -> None:
        """Execute steps until the world is at rest."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        while self._steps < STEPS_MAX:
            self._steps += 1
            self._answer_callers()
            if not self._step():
                if self._in_flight:  # these tasks are about to make their next call or to end
                    await asyncio.sleep(0)
                    continue
                if not self._retry_at_rest() and not self._check_at_rest():
                    return
            await asyncio.sleep(0)
        raise AssertionError(f"not at rest after {STEPS_MAX} steps")

    @property
    def _faulty(self) -> bool:
        return self._steps < self.faults.steps

    def _step(self) -> bool:
        """Execute one step; return False if no step is possible."""
        chance = self.random.random
        if self._faulty:
            self.now += timedelta(seconds=self.random.choice(self._pace))
            if chance() < self.faults.wiped:
                self._queue.clear()
                return True
            if chance() < self.faults.death:
                self._kill(self._gateway)
                return True
            if chance() < self.faults.death:
                self._kill(self.random.choice(self._replicas[self.random.choice(list(SERVICES))]))
                return True
        unsent = [command for command in self.commands if not command.attempts]
        if unsent and chance() < 0.3:
            self._send(self.random.choice(unsent))
            return True
        if self._faulty and self._repeats and self.commands and chance() < 0.02:
            self._send(self.random.choice(self.commands))
            return True
        if self._faulty and chance() < 0.05 and self._start_gateway_work():
            return True
        if self._queue and len(self._in_flight) < IN_FLIGHT_MAX and chance() < 0.4:
            self._start(self._queue.pop(self.random.randrange(len(self._queue))))
            return True
        if self._calls:
            self._execute(self._calls.pop(self.random.randrange(len(self._calls))))
            return True
        if self._queue and len(self._in_flight) < IN_FLIGHT_MAX:
            self._start(self._queue.pop(self.random.randrange(len(self._queue))))
            return True
        return False

    def _retry_at_rest(self) -> bool:
        """At rest, make queued mails due, or repeat the commands that have no answer."""
        if self._has_queued_mails():
            self.now += timedelta(hours=1)
            self._queue.append(Delivery("notification", MAIL_RETRY, b""))
            return True
        unanswered = [command for command in self.commands if not command.answered]
        for command in unanswered:
            self._send(command)
        if unanswered:
            self._start_gateway_work()
        return bool(unanswered)

    def _answer_callers(self) -> None:
        """Answer each caller whose reply has arrived and whose command the journal has saved.

        A crash of the gateway does not undo an answer.
        """
        for command in self.commands:
            if not command.answered and command.replies:
                command.answered = not self._journals or self._gateway.has_written(command)

    def _check_at_rest(self) -> bool:
        """At rest, run the reconciler until no accepted command is unfinished."""
        if not self._heals or (self._gateway.journal.resumed and not self._gateway.journal.count):
            return False
        self.now += CHECK_PAUSE
        return self._start_gateway_work()

    def _start_gateway_work(self) -> bool:
        """Start a round of the gateway's background work, unless one is running."""
        if any(delivery.app == GATEWAY for delivery in self._in_flight):
            return False
        gateway = self._gateway
        work = gateway.work if self._heals else gateway.journal.flush
        self._begin(Delivery(GATEWAY, "", b"", replica=gateway, work=work))
        return True

    def _has_queued_mails(self) -> bool:
        """Return whether the index of the mail retry queue lists an unfinished mail.

        An entry that no page lists belongs to a process that died while adding it.
        """
        store = self.stores["notification"]
        listed = [
            order_id
            for key, (value, _) in store.items()
            if key.startswith(f"{INDEX}:")
            for order_id in msgspec.json.decode(value)["ids"]
        ]
        entries = (store.get(f"mail-retry:{order_id}") for order_id in listed)
        return any(entry is not None and not msgspec.json.decode(entry[0])["done"] for entry in entries)

    # --- Callers

    def _send(self, command: Command) -> None:
        command.attempts += 1
        assert command.attempts < 50, f"{command.topic} {command.id} is never answered"
        self._gateway.accept(command)
        if not (self._faulty and self.random.random() < self.faults.vanish):
            self._deliver(command.topic, command.body)

    # --- Processes

    def _process(self, app: str) -> Replica:
        sidecar = SimulatedSidecar(self, app)
        self._processes_started += 1
        processor = self._make_processor(SERVICES[app], sidecar, lambda: self.now, f"process {self._processes_started}")
        mailer = SimulatedMailer(self, sidecar) if app == "notification" else None
        return Replica(app, processor, mailer)

    def _kill(self, replica: Replica | Gateway) -> None:
        """Crash a process; its pending calls may take effect, and its events are redelivered."""
        for call in [call for call in self._calls if call.delivery.replica is replica]:
            self._calls.remove(call)
            if self.random.random() < 0.5:
                _ignoring_conflicts(call.effect)
        for delivery in [delivery for delivery in self._in_flight if delivery.replica is replica]:
            assert delivery.task is not None
            delivery.task.cancel()
        if isinstance(replica, Gateway):
            self._gateway = Gateway(self)
            return
        if replica.mailer is not None:
            replica.mailer.close()
        replicas = self._replicas[replica.app]
        replicas[replicas.index(replica)] = self._process(replica.app)

    def _start(self, delivery: Delivery) -> None:
        delivery.replica = self.random.choice(self._replicas[delivery.app])
        delivery.ack_is_lost = False
        self._begin(delivery)

    def _begin(self, delivery: Delivery) -> None:
        self._in_flight.append(delivery)
        delivery.task = asyncio.get_running_loop().create_task(self._handle(delivery))

    async def _handle(self, delivery: Delivery) -> None:
        CURRENT.set(delivery)
        replica = delivery.replica
        assert replica is not None
        redeliver = delivery.work is None
        try:
            if delivery.work is not None:
                await delivery.work()
                return
            assert isinstance(replica, Replica)
            if delivery.topic == MAIL_RETRY:
                assert replica.mailer is not None
                await replica.mailer.retries.retry_due()
            elif delivery.topic == "EmailRequested":
                assert replica.mailer is not None
                await replica.mailer.handle(delivery.body)
            else:
                await replica.processor.process(delivery.topic, delivery.body)
            redeliver = delivery.ack_is_lost
        except TransientError:
            pass  # the broker redelivers it
        except PermanentError as fault:
            self.dead_letters.append(f"{delivery.topic}: {fault.reason}")
            redeliver = False
        finally:
            self._in_flight.remove(delivery)
            if redeliver:
                self._queue.append(delivery)

    # --- Calls

    async def call(self, effect: Callable[[], Any], can_fail: bool = True) -> Any:
        """Wait until the scheduler executes the effect, and return its result."""
        done = asyncio.get_running_loop().create_future()
        self._calls.append(Call(effect, done, CURRENT.get(), can_fail))
        return await done

    def _execute(self, call: Call) -> None:
        if call.done.done():
            return
        if self._faulty and call.can_fail and self.random.random() < self.faults.refused:
            call.done.set_exception(SidecarUnavailable("refused"))
            return
        try:
            result = call.effect()
        except (Conflict, TransientError) as error:
            call.done.set_exception(error)
            return
        if self._faulty and call.can_fail and self.random.random() < self.faults.lost_answer:
            call.done.set_exception(SidecarUnavailable("the answer was lost"))
        else:
            call.done.set_result(result)

    def load(self, app: str, key: str) -> tuple[bytes | None, str | None]:
        """Return a value and its ETag from the store of an app."""
        found = self.stores[app].get(key)
        return (None, None) if found is None else (found[0], str(found[1]))

    def save(self, app: str, key: str, value: bytes, etag: str | None) -> None:
        """Write the value if the ETag matches, else raise Conflict."""
        found = self.stores[app].get(key)
        if self._honours_etags and (None if found is None else str(found[1])) != etag:
            raise Conflict(key)
        self._write(app, key, value)

    def insert(self, app: str, key: str, value: bytes) -> bool:
        """Write if the key is free; return whether it was."""
        if key in self.stores[app]:
            return False
        self._write(app, key, value)
        return True

    def _write(self, app: str, key: str, value: bytes) -> None:
        refusing, steps = self._refusing
        if app == refusing and self._steps in steps:
            self.writes_refused += 1
            raise WriteRefused(key)
        self._versions += 1
        version = self._versions
        if self._counts_by_key:
            version = self.stores[app].get(key, (b"", 0))[1] + 1
        self.stores[app][key] = (value, version)

    def publish(self, topic: str, body: bytes, delivery: Delivery) -> None:
        """Publish an event, or lose it, alone or with the acknowledgement of its cause."""
        if self._faulty and self.random.random() < self.faults.vanish:
            delivery.ack_is_lost = True
            return
        event = msgspec.json.decode(body)
        self.published[topic].append(event)
        if self._faulty and self.random.random() < self.faults.lost:
            return
        for command in self.commands:
            if (
                topic in REPLIES
                and event["correlationid"] == command.id
                and topic.startswith(REPLIES_TO[command.topic])
            ):
                command.replies.add(topic)
        self._deliver(topic, body)

    def send_mail(self, message_id: str) -> None:
        """Count a mail that the mail server accepted."""
        self.mails[message_id] += 1

    def _deliver(self, topic: str, body: bytes) -> None:
        for app in CONSUMERS[topic]:
            copies = 2 if self._faulty and self.random.random() < self.faults.duplicate else 1
            self._queue.extend(Delivery(app, topic, body) for _ in range(copies))


REPLIES_TO = {
    "UserCreateRequested": ("UserCreated", "UserCreateRejected"),
    "AccountDepositRequested": ("AccountDeposited", "AccountDepositRejected"),
    "OrderCreateRequested": ("OrderCreated", "OrderCreateRejected"),
}
REPLIES = {topic for topics in REPLIES_TO.values() for topic in topics}


class SimulatedSidecar:
    """The sidecar of one app in a world."""

    def __init__(self, world: World, app: str) -> None:
        self._world = world
        self._app = app
        self.store = StoreHealth()

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return a value and its ETag."""
        found: tuple[bytes | None, str | None] = await self._world.call(lambda: self._world.load(self._app, key))
        return found

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return several values, read at one step."""
        found: list[bytes | None] = await self._world.call(
            lambda: [self._world.load(self._app, key)[0] for key in keys]
        )
        return found

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """Invoke a read of a service; the calls of the service can fail too."""
        await self._world.call(lambda: None)
        for read in reads(app_id, SimulatedSidecar(self._world, app_id)):
            pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", read.path)
            if matched := re.fullmatch(pattern, path):
                body = await read.find(matched.groupdict())
                return Answer(404, b"{}") if body is None else Answer(200, body)
        raise AssertionError(f"{app_id} has no {path}")

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag matches; `ttl_seconds` has no effect in the simulation."""
        await self._world.call(lambda: self._world.save(self._app, key, value, etag))

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; return whether it was."""
        return bool(await self._world.call(lambda: self._world.insert(self._app, key, value)))

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish an event to the broker."""
        delivery = CURRENT.get()
        await self._world.call(lambda: self._world.publish(topic, event, delivery))


def reads(app: str, simulated: SimulatedSidecar) -> Sequence[Read]:
    """Return the reads that a service serves by invocation."""
    sidecar = cast(HttpSidecar, simulated)
    match app:
        case "user":
            return user_app.wire(sidecar).reads
        case "billing":
            return billing_app.wire(sidecar).reads
        case "order":
            return order_app.wire(PAY_WITHIN, sidecar).reads
        case _:
            return notification_app.wire(MAIL_SETTINGS, sidecar).reads


class SimulatedSession(Session):
    """A session with a simulated server that can be unreachable or lose its reply."""

    def __init__(self, world: World, mail: EmailRequested) -> None:
        super().__init__(Connections(Connector(SERVER)), "shop@localhost", mail)
        self._world = world
        self._message_id = mail.message_id

    async def result(self, message: bytes) -> Result:
        """Send the mail with the same phases as the real session."""
        try:
            await self._world.call(lambda: None)
            self.is_answered = True
            if self.before_dot is not None:
                await self.before_dot()
        except Withdrawn as withdrawn:
            return Result("withdrawn", str(withdrawn))
        except SidecarUnavailable as error:
            return Result("unreachable", str(error))
        self.dot_sent = True
        try:
            await self._world.call(lambda: self._world.send_mail(self._message_id))
        except SidecarUnavailable as error:
            return Result("unknown", str(error))
        return SENT


class SimulatedMailer(Mailer):
    """The real Mailer with a simulated mail server, which only counts mails."""

    def __init__(self, world: World, sidecar: SimulatedSidecar) -> None:
        retry_queue = MailRetryQueue(sidecar, lambda: world.now, timedelta(minutes=1))
        new_session = partial(SimulatedSession, world)
        super().__init__(SERVER, "shop@localhost", sidecar, retry_queue, lambda: world.now, None, new_session)
        self.background.retry_seconds = 0.0


def _ignoring_conflicts(effect: Callable[[], Any]) -> None:
    try:
        effect()
    except (Conflict, WriteRefused):
        return
