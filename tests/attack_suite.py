"""`sidecart attack`: every attack on each broker, and every control taken out, in one table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from sidecart.launcher.servers.registry import BROKERS
from tests import attack_table, suites
from tests.suites import Suite

SELECTED = f"{attack_table.ATTACK} or {attack_table.MUTANT}"
IN_BROWSER = "tests/full/test_attack_browser.py"


@click.command("attack")
@click.option(
    "--broker", type=click.Choice([*BROKERS, "all"]), default="all", help="attack the shop on this broker only"
)
def attack(broker: str) -> int:
    """Run every attack on each broker, and again without its control.

    An attack must be refused, and must succeed without its control. The exit code is 1 if an attack
    succeeded, a mutant was not found, a control has no mutant, or a test did not run.
    """
    brokers = list(BROKERS) if broker == "all" else [broker]
    for each in brokers:
        suites.require(each)
    suites.require_programs("chromium")
    trials: dict[str, list[attack_table.Trial]] = {each: [] for each in brokers}
    with tempfile.TemporaryDirectory(prefix="sidecart-attack-") as folder:
        outcomes = []
        for each in brokers:  # by turns, because some attacks measure time
            *beside, alone = _suites(each, Path(folder))
            outcomes += [*suites.in_parallel(beside), *suites.in_parallel([alone])]
            for suite in (*beside, alone):
                if suite.report is not None and suite.report.exists():
                    trials[each] += attack_table.read(suite.report.read_text(encoding="utf-8"))
    print("\n".join(["", *attack_table.table(trials), ""]))
    missing = attack_table.without_mutant(trials)
    if missing:
        print(f"controls without a mutant: {', '.join(missing)}")
    code = suites.report(outcomes, brokers)
    print(attack_table.summary(trials))
    return code or int(bool(missing))


def _suites(broker: str, folder: Path) -> list[Suite]:
    """Return the suites on a broker; the last one runs alone."""
    env = suites.servers_of(broker, suites.STORE_OF_BROKER[broker])
    parts = {
        "a shared shop": ("not own_shop", suites.E2E),
        "own shops": ("own_shop", suites.E2E, IN_BROWSER),
        "fairness": ("own_shop", suites.FAIRNESS),
    }
    return [
        Suite(
            f"attacks on {broker}: {name}",
            [*suites.SHOWN, "-m", f"({SELECTED}) and {which}", *paths],
            env,
            folder / f"{broker}-{number}.xml",
        )
        for number, (name, (which, *paths)) in enumerate(parts.items())
    ]
