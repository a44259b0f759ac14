"""`sidecart examples`: write the example events by running the services."""

import click

from sidecart.contracts import examples
from sidecart.launcher.project import root


@click.command(
    "examples",
    epilog="The services process the commands of contracts/scenario.json, in memory and without sidecars. Each event "
    "becomes a file of contracts/examples.",
)
@click.option("--check", is_flag=True, help="change no file; exit with 1 if one would change")
def command(check: bool) -> int:
    """Write the example events by running the services."""
    made = examples.run_scenario(root())
    if check:
        found = list(examples.differences(root(), made))
        for line in found:
            print(line)
        print(f"{len(made.examples)} events, {len(found)} differences" + (": run `sidecart examples`" if found else ""))
        return 1 if found else 0
    changed = examples.write(root(), made)
    for line in changed:
        print(line)
    print(f"{len(made.examples)} events, {len(changed)} files changed")
    return 0
