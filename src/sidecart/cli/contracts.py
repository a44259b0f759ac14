"""`sidecart contracts`: compare the contracts with the newest release, and release them."""

import argparse

from sidecart.contracts import examples, releases
from sidecart.launcher.project import root


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `sidecart contracts`."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "list the changes since the newest release; exit with 1 if one is breaking"
    checking = actions.add_parser("check", help=text, description=text)
    checking.set_defaults(command=check)
    text = "write the contracts, events and records of this version to contracts/released/VERSION"
    releasing = actions.add_parser("release", help=text, description=text)
    releasing.add_argument("version", metavar="VERSION", help="the version, such as 1.2.0")
    releasing.set_defaults(command=release)


def check(options: argparse.Namespace) -> int:
    """Print the changes since the newest release; return 1 if one is breaking or undated."""
    known = releases.versions(root())
    found, undated = releases.changes(root()), list(releases.undated(root()))
    for line in [*found, *undated]:
        print(line)
    breaking = sum(change.is_breaking for change in found)
    since = f"since {known[-1]}" if known else "(there is no release yet)"
    print(f"contracts: {breaking} breaking and {len(found) - breaking} compatible changes {since}")
    if breaking:
        print("a breaking change needs a new topic: docs/how-to/change-an-event.md")
    return 1 if breaking or undated else 0


def release(options: argparse.Namespace) -> int:
    """Write the contracts of a version."""
    target = releases.release(root(), options.version, examples.run_scenario(root()))
    print(f"wrote {target.relative_to(root())}")
    return 0
