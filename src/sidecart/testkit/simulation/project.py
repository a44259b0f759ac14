"""The project under simulation: its services, the consumers of each event, the gateway's commands.

dapr.yaml, contracts/ and the gateway's declarations define them, so a new service needs no line
here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.declarations import Application
from sidecart.launcher.apps import read_apps
from sidecart.launcher.consistency import application_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import read_topics, service_ids
from sidecart.testkit.programs import Program, read_programs
from sidecart.testkit.simulation.schedule import Schedule
from sidecart.testkit.simulation.sidecar import SimulatedSidecar
from sidecart.testkit.simulation.stores import Records


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The reach of one simulated process: its sidecar, the schedule, and servers outside."""

    sidecar: SimulatedSidecar
    schedule: Schedule
    side_effects: Counter[str]
    """Counts the effects on servers outside the project, by id."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process besides its event processor."""

    handlers: Mapping[str, Callable[[bytes], Awaitable[None]]] = field(default_factory=dict)
    """The handlers of the topics that are no inputs of the service."""
    after: Mapping[str, Callable[[bytes], Awaitable[None]]] = field(default_factory=dict)
    """Further work on an input of the service, after its event processor."""
    on_timer: Callable[[], Awaitable[None]] | None = None
    """One round of the background work that waits for the clock."""
    close: Callable[[], None] = lambda: None
    """Ends the parts when the process dies."""


MakeParts = Callable[[Surroundings], Parts]


@dataclass(frozen=True, slots=True)
class SimulatedApp:
    """How the simulation runs one service."""

    program: Program
    make_parts: MakeParts
    has_timed_work: Callable[[Records], bool] = lambda _records: False
    """Returns whether the records show work that waits for the clock."""
    timer_pause: timedelta = timedelta(hours=1)
    """Makes that work due, once no other work is left."""


@dataclass(frozen=True, slots=True)
class Project:
    """The services by app-id, and the connections between them."""

    apps: Mapping[str, SimulatedApp]
    application: Application
    consumers: Mapping[str, tuple[str, ...]]
    """The services that consume each topic."""

    @property
    def replies(self) -> dict[str, frozenset[str]]:
        """The replies to each command, by topic."""
        return {each.topic: frozenset(each.replies) for each in self.application.all_commands}

    @classmethod
    def read(cls, given: Mapping[str, SimulatedApp], where: str) -> Project:
        """Read the project; `given` has the services that need more than `SERVICE` and `wire`.

        `where` names the constant that holds `given`, for the error about a service without one.
        """
        programs = read_programs({name: app.program for name, app in given.items()}, where)
        apps = {name: given.get(name) or by_convention(each) for name, each in programs.items()}
        consumers = {
            name: tuple(app_id for app_id in service_ids() if app_id in topic.consumers)
            for name, topic in read_topics().items()
        }
        return cls(apps, application_of(read_apps()), consumers)


def by_convention(program: Program) -> SimulatedApp:
    """Return the app of a service that reaches nothing but its sidecar.

    Its parts are the handlers of the topics that are no inputs of its declaration. They raise
    LaunchError for a service with background work, which would wait for the real clock.
    """

    def parts(surroundings: Surroundings) -> Parts:
        wired = program.wire(cast(Sidecar, surroundings.sidecar))
        name = program.service.name
        if wired.background_tasks is not None:
            raise LaunchError(f"the simulation of {name} needs `Parts.on_timer` in place of its background work")
        more = (each for each in wired.subscriptions if each.topic not in program.service.inputs)
        return Parts({each.topic: each.handle for each in more})

    return SimulatedApp(program, parts)
