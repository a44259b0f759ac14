"""`sidecart examples`: write the example events by running the services."""

import argparse

from sidecart.contracts import examples
from sidecart.launcher.project import root


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart examples`."""
    parser.add_argument("--check", action="store_true", help="change no file; exit with 1 if one would change")
    parser.epilog = (
        "The services process the commands of contracts/scenario.json, in memory and without sidecars. Each event "
        "becomes a file of contracts/examples."
    )
    parser.set_defaults(command=write_examples)


def write_examples(options: argparse.Namespace) -> int:
    """Write contracts/examples, or with --check list the files that differ and return 1."""
    made = examples.run_scenario(root())
    if options.check:
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
