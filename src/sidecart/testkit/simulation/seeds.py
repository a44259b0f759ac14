"""Runs a project under many seeds, complete and as mutants, and collects the violations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sidecart.testkit.simulation import checks
from sidecart.testkit.simulation.broker import Command
from sidecart.testkit.simulation.project import Project
from sidecart.testkit.simulation.world import Setup, World


class Scenario(Protocol):
    """The commands of one seed; a project adds what its own checks need."""

    @property
    def commands(self) -> list[Command]:
        """The commands that callers send."""


S = TypeVar("S", bound=Scenario)
COMPLETE = Setup()


@dataclass(frozen=True, slots=True)
class Simulation(Generic[S]):
    """A project with its scenarios and its own invariants."""

    project: Project
    scenario: Callable[[int], S]
    """Returns the scenario of a seed; the same seed gives the same scenario."""
    problems: Callable[[World, S], Iterable[str]]
    """Returns the violations of the project's own invariants, one line each."""

    def world(self, seed: int, setup: Setup = COMPLETE) -> tuple[World, S]:
        """Run one seed; return the world at rest, and its scenario.

        Raise AssertionError for a world that does not come to rest.
        """
        expected = self.scenario(seed)
        world = World(self.project, seed, expected.commands, setup)
        world.run()
        return world, expected

    def violations(self, world: World, expected: S) -> list[str]:
        """Return the violations of the toolkit's and of the project's invariants, one line each."""
        return [*checks.problems(world), *self.problems(world, expected)]

    def found(self, seed: int, setup: Setup = COMPLETE) -> list[str]:
        """Run one seed, and return its violations."""
        try:
            return self.violations(*self.world(seed, setup))
        except AssertionError as error:  # the world did not come to rest
            return [str(error)]

    def failures(self, setup: Setup, seeds: Iterable[int]) -> Iterator[tuple[int, str]]:
        """Yield each failing seed with its first violation; a mutant must have one.

        A caller that takes only the first one saves the run of all seeds after it.
        """
        for seed in seeds:
            if wrong := self.found(seed, setup):
                yield seed, wrong[0]
