"""A simulated world for the real services and the gateway's reconciler: a store with ETags, a lossy broker, and death.

Every call that a service makes waits until the scheduler lets it happen, in an order that a seed decides. A call may
happen and its answer be lost; a process may die before or after it; a publish may vanish together with the
acknowledgement of the event whose handling made it, or alone, after a success was answered; the broker may lose all
that it holds; an event may come twice, late, at any replica. Faults end; then everything is delivered, and the
reconciler checks what was accepted, until nothing is left to do, and `checks.py` looks at what there is.
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
from typing import Any, cast

import msgspec

from chassis.connections import Answer
from chassis.errors import Conflict, PermanentError, SidecarUnavailable, TransientError, WriteRefused
from chassis.processor import EventProcessor, Service
from chassis.serve import Read
from chassis.sidecar import HttpSidecar
from chassis.store_health import StoreHealth
from gateway.flows import KIND_OF_TOPIC
from gateway.journal import Flow, Journal
from gateway.pending_commands import PendingCommands
from gateway.reconciler import Reconciler
from services.billing import app as billing_app
from services.billing.app import SERVICE as BILLING
from services.notification import app as notification_app
from services.notification.app import SERVICE as NOTIFICATION
from services.notification.events import EmailRequested
from services.notification.mail import Mailer
from services.notification.mail_retry_queue import INDEX, MailRetryQueue
from services.notification.mail_server import Connections, MailServer
from services.notification.mail_session import SENT, Result, Session, Withdrawn
from services.notification.settings import Settings as MailSettings
from services.order import app as order_app
from services.order.app import service as order_service
from services.user import app as user_app
from services.user.app import SERVICE as USER

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
CHECK_PAUSE = timedelta(seconds=20)  # the clock moves on by this when nothing but a check is left to do
REPLICAS = 2
PACES = (0, 0, 0, 1, 30), (0, 0, 0, 0, 1)  # seconds from step to step: much grows old, or hardly anything
IN_FLIGHT_MAX = 8
STEPS_MAX = 20_000  # of one seed; a world that has not come to rest by then never will
CARRY = "a look into the mail retry queue"  # what a replica does by itself, here when nothing else is left to do
SERVER = MailServer("localhost", 25, tls=False, username=None, password=None)

MAIL_SETTINGS = MailSettings(SERVER, "shop@localhost", timedelta(minutes=1), timedelta(hours=1))

MakeProcessor = Callable[..., EventProcessor[Any, Any]]


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each fault happens at one step, while faults last."""

    death: float = 0.02
    lost_answer: float = 0.02  # a call that happened, and says that it did not
    refused: float = 0.02  # a call that did not happen, and says so
    vanish: float = 0.04  # a publish that says it was taken and was not
    lost: float = 0.06  # a publish that says it was taken and was not, after which everything else goes well
    wiped: float = 0.001  # the broker loses all events that it holds
    duplicate: float = 0.05
    steps: int = 400  # for so many steps
    refusal_steps: int = 80  # for so many of them one service's store reads and refuses every write


CALM = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(slots=True, eq=False)
class Delivery:
    """One event on its way to one app, until it is acknowledged."""

    app: str
    topic: str
    body: bytes
    ack_is_lost: bool = False
    task: asyncio.Task[None] | None = None
    replica: Replica | Gateway | None = None
    work: Callable[[], Awaitable[None]] | None = None
    """What a gateway does instead of handling an event."""


@dataclass(slots=True, eq=False)
class Call:
    """A call that waits for its turn."""

    effect: Callable[[], Any]
    done: asyncio.Future[Any]
    delivery: Delivery
    can_fail: bool = True


@dataclass(slots=True, eq=False)
class Replica:
    """One process of one service: the memory that dies with it."""

    app: str
    processor: EventProcessor[Any, Any]
    mailer: Mailer | None


class Gateway:
    """The process that accepts commands: its journal and its reconciler, and the memory that dies with it."""

    def __init__(self, world: World) -> None:
        sidecar = cast(HttpSidecar, SimulatedSidecar(world, GATEWAY))
        self.journal = Journal(sidecar, "gateway-0", lambda: world.now)
        self.reconciler = Reconciler(
            sidecar, self.journal, PendingCommands(sidecar, "gateway-0", lambda: world.now), lambda: world.now
        )
        self.flows: dict[str, Flow] = {}  # by command id

    async def work(self) -> None:
        """Do one round of what the gateway does beside its routes."""
        if not self.journal.resumed:
            self.reconciler.schedule_checks(await self.journal.resume())
        await self.journal.flush()
        await self.reconciler.step()
        await self.journal.tidy()

    def accept(self, command: Command) -> None:
        """Note the command before it is published."""
        kind = KIND_OF_TOPIC.get(command.topic)
        if kind is not None:
            self.flows[command.id], _ = self.reconciler.add(kind, command.resource)

    def has_written(self, command: Command) -> bool:
        """Whether the journal would let the caller be answered."""
        flow = self.flows.get(command.id)
        return command.topic not in KIND_OF_TOPIC or (flow is not None and (flow.batch is not None or flow.ended))


@dataclass(slots=True)
class Command:
    """What a caller wants, and says again until the gateway answers."""

    topic: str
    id: str
    body: bytes
    output: int = 0
    replies: set[str] = field(default_factory=set)
    answered: bool = False

    @property
    def resource(self) -> str:
        """The id of what it makes."""
        subject: str = msgspec.json.decode(self.body)["subject"]
        return subject


CURRENT: ContextVar[Delivery] = ContextVar("CURRENT")


class World:
    """All of it, for one seed."""

    def __init__(
        self,
        seed: int,
        commands: list[Command],
        faults: Faults,
        make_processor: MakeProcessor = EventProcessor,
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
        refusal = random.Random(f"refusal {seed}")  # of its own: the other faults of a seed stay what they are
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
        self._counts_by_key = seed % 2 == 0  # as Redis does; PostgreSQL numbers all writes
        self._repeats = seed // 4 % 2 == 0  # callers repeat what they were answered, or leave all repair to the shop
        self._pace = PACES[seed // 2 % 2]
        self._steps = 0
        self._born = 0
        self._replicas = {name: [self._process(name) for _ in range(replicas)] for name in SERVICES}
        self._gateway = Gateway(self)

    # --- The run

    def run(self) -> None:
        """Let it happen until it is at rest."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        while self._steps < STEPS_MAX:
            self._steps += 1
            self._answer()
            if not self._step():
                if self._in_flight:  # tasks that are about to make their next call, or to end
                    await asyncio.sleep(0)
                    continue
                if not self._ask_again() and not self._check_again():
                    return
            await asyncio.sleep(0)
        raise AssertionError(f"not at rest after {STEPS_MAX} steps")

    @property
    def _faulty(self) -> bool:
        return self._steps < self.faults.steps

    def _step(self) -> bool:
        """Let one thing happen; False when nothing can."""
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
        unsaid = [command for command in self.commands if not command.output]
        if unsaid and chance() < 0.3:
            self._say(self.random.choice(unsaid))
            return True
        if self._faulty and self._repeats and self.commands and chance() < 0.02:
            self._say(self.random.choice(self.commands))
            return True
        if self._faulty and chance() < 0.05 and self._work_at_the_gateway():
            return True
        if self._queue and len(self._in_flight) < IN_FLIGHT_MAX and chance() < 0.4:
            self._start(self._queue.pop(self.random.randrange(len(self._queue))))
            return True
        if self._calls:
            self._happen(self._calls.pop(self.random.randrange(len(self._calls))))
            return True
        if self._queue and len(self._in_flight) < IN_FLIGHT_MAX:
            self._start(self._queue.pop(self.random.randrange(len(self._queue))))
            return True
        return False

    def _ask_again(self) -> bool:
        """At rest: mails that wait are due at last; callers that have no answer say again what they want."""
        if self._mails_wait():
            self.now += timedelta(hours=1)
            self._queue.append(Delivery("notification", CARRY, b""))
            return True
        unanswered = [command for command in self.commands if not command.answered]
        for command in unanswered:
            self._say(command)
        if unanswered:
            self._work_at_the_gateway()
        return bool(unanswered)

    def _answer(self) -> None:
        """Answer the callers whose reply is there and whose command the journal has; an answer outlives the gateway."""
        for command in self.commands:
            if not command.answered and command.replies:
                command.answered = not self._journals or self._gateway.has_written(command)

    def _check_again(self) -> bool:
        """At rest, with everything answered: the reconciler checks, until no accepted command is unfinished."""
        if not self._heals or (self._gateway.journal.resumed and not self._gateway.journal.count):
            return False
        self.now += CHECK_PAUSE
        return self._work_at_the_gateway()

    def _work_at_the_gateway(self) -> bool:
        """Start a round of the gateway's own work, unless one is under way."""
        if any(delivery.app == GATEWAY for delivery in self._in_flight):
            return False
        gateway = self._gateway
        work = gateway.work if self._heals else gateway.journal.flush
        self._begin(Delivery(GATEWAY, "", b"", replica=gateway, work=work))
        return True

    def _mails_wait(self) -> bool:
        """Whether the mail retry queue lists a mail; a process died beside an entry that no page lists."""
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

    def _say(self, command: Command) -> None:
        command.output += 1
        assert command.output < 50, f"{command.topic} {command.id} is never answered"
        self._gateway.accept(command)
        if not (self._faulty and self.random.random() < self.faults.vanish):
            self._spread(command.topic, command.body)

    # --- Processes

    def _process(self, app: str) -> Replica:
        sidecar = SimulatedSidecar(self, app)
        self._born += 1
        processor = self._make_processor(SERVICES[app], sidecar, lambda: self.now, f"process {self._born}")
        mailer = SimulatedMailer(self, sidecar) if app == "notification" else None
        return Replica(app, processor, mailer)

    def _kill(self, replica: Replica | Gateway) -> None:
        """Die: what was under way may have happened or not, all memory is gone, its events are handed out again."""
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
        again = delivery.work is None
        try:
            if delivery.work is not None:
                await delivery.work()
                return
            assert isinstance(replica, Replica)
            if delivery.topic == CARRY:
                assert replica.mailer is not None
                await replica.mailer.retry_due()
            elif delivery.topic == "EmailRequested":
                assert replica.mailer is not None
                await replica.mailer.handle(delivery.body)
            else:
                await replica.processor.process(delivery.topic, delivery.body)
            again = delivery.ack_is_lost
        except TransientError:
            pass  # the broker hands it out again
        except PermanentError as fault:
            self.dead_letters.append(f"{delivery.topic}: {fault.reason}")
            again = False
        finally:
            self._in_flight.remove(delivery)
            if again:
                self._queue.append(delivery)

    # --- Calls

    async def call(self, effect: Callable[[], Any], can_fail: bool = True) -> Any:
        """Wait until the scheduler lets it happen."""
        done = asyncio.get_running_loop().create_future()
        self._calls.append(Call(effect, done, CURRENT.get(), can_fail))
        return await done

    def _happen(self, call: Call) -> None:
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
        """Read from a store."""
        found = self.stores[app].get(key)
        return (None, None) if found is None else (found[0], str(found[1]))

    def save(self, app: str, key: str, value: bytes, etag: str | None) -> None:
        """First write wins."""
        found = self.stores[app].get(key)
        if self._honours_etags and (None if found is None else str(found[1])) != etag:
            raise Conflict(key)
        self._write(app, key, value)

    def insert(self, app: str, key: str, value: bytes) -> bool:
        """Write if the key is free."""
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
        """Take an event, or lose it together with the acknowledgement of the one that led to it."""
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
        self._spread(topic, body)

    def send_mail(self, message_id: str) -> None:
        """The mail server takes a mail."""
        self.mails[message_id] += 1

    def _spread(self, topic: str, body: bytes) -> None:
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
    """The sidecar of one app, in one world."""

    def __init__(self, world: World, app: str) -> None:
        self._world = world
        self._app = app
        self.store = StoreHealth()

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Read."""
        found: tuple[bytes | None, str | None] = await self._world.call(lambda: self._world.load(self._app, key))
        return found

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several at one moment."""
        found: list[bytes | None] = await self._world.call(
            lambda: [self._world.load(self._app, key)[0] for key in keys]
        )
        return found

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """Ask a service, whose own calls may fail as any other."""
        await self._world.call(lambda: None)
        for read in reads(app_id, SimulatedSidecar(self._world, app_id)):
            pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", read.path)
            if matched := re.fullmatch(pattern, path):
                body = await read.find(matched.groupdict())
                return Answer(404, b"{}") if body is None else Answer(200, body)
        raise AssertionError(f"{app_id} has no {path}")

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if no other process did; records outlive the simulated time."""
        await self._world.call(lambda: self._world.save(self._app, key, value, etag))

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free."""
        return bool(await self._world.call(lambda: self._world.insert(self._app, key, value)))

    async def publish(self, topic: str, event: bytes) -> None:
        """Hand an event to the broker."""
        delivery = CURRENT.get()
        await self._world.call(lambda: self._world.publish(topic, event, delivery))


def reads(app: str, simulated: SimulatedSidecar) -> Sequence[Read]:
    """What a service answers by invocation."""
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
    """One mail to a mail server that is a counter: it may be unreachable, or its answer lost after it took the mail."""

    def __init__(self, world: World, message_id: str) -> None:
        super().__init__(Connections(SERVER), "shop@localhost", message_id)
        self._world = world
        self._message_id = message_id

    async def result(self, message: bytes) -> Result:
        """Send it, as the real one does."""
        try:
            await self._world.call(lambda: None)
            self.is_answered = True
            if self.before_dot is not None:
                await self.before_dot()
        except Withdrawn as withdrawn:
            return Result("withdrawn", str(withdrawn))
        except SidecarUnavailable as away:
            return Result("unreachable", str(away))
        self.dot_sent = True
        try:
            await self._world.call(lambda: self._world.send_mail(self._message_id))
        except SidecarUnavailable as away:
            return Result("unknown", str(away))
        return SENT


class SimulatedMailer(Mailer):
    """The real handler of EmailRequested and of the mail retry queue, with a mail server that is a counter."""

    retry_seconds = 0.0

    def __init__(self, world: World, sidecar: SimulatedSidecar) -> None:
        retry_queue = MailRetryQueue(sidecar, lambda: world.now, timedelta(minutes=1))
        super().__init__(SERVER, "shop@localhost", sidecar, retry_queue, lambda: world.now, window_seconds=None)
        self._world = world

    def _session(self, mail: EmailRequested) -> Session:
        return SimulatedSession(self._world, mail.message_id)


def _ignoring_conflicts(effect: Callable[[], Any]) -> None:
    try:
        effect()
    except (Conflict, WriteRefused):
        return
