"""`sidecart contracts`: compare the contracts with the newest release, and release them."""

import json
from collections.abc import Iterator

import click

from sidecart.contracts import examples, releases
from sidecart.contracts.compatibility import Change
from sidecart.launcher.project import root


@click.group("contracts")
def command() -> None:
    """Compare the contracts with the newest release, and release them."""


@command.command("check")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="print each change as one JSON object with `kind` (breaking, compatible or undated), `place`, `what` and "
    "`reason`",
)
def check_command(as_json: bool) -> int:
    """List the changes since the newest release.

    The exit code is 1 if a change is breaking, or if an optional field does not say since when it
    exists.
    """
    return check(as_json=as_json)


@command.command("release")
@click.argument("version", metavar="VERSION", help="the version, such as 1.2.0")
def release_command(version: str) -> int:
    """Write the contracts, events and records to contracts/released/VERSION."""
    target = releases.release(root(), version, examples.run_scenario(root()))
    print(f"wrote {target.relative_to(root())}")
    return 0


def check(*, as_json: bool = False) -> int:
    """Print the changes since the newest release; return 1 if one is breaking or undated."""
    found, undated = releases.changes(root()), list(releases.undated(root()))
    for line in _as_json(found, undated) if as_json else [*found, *undated]:
        print(line)
    breaking = sum(change.is_breaking for change in found)
    if not as_json:
        known = releases.versions(root())
        since = f"since {known[-1]}" if known else "(there is no release yet)"
        print(f"contracts: {breaking} breaking and {len(found) - breaking} compatible changes {since}")
        if breaking:
            print("a breaking change needs a new topic: docs/how-to/change-an-event.md")
    return 1 if breaking or undated else 0


def _as_json(changes: list[Change], undated: list[str]) -> Iterator[str]:
    for change in changes:
        kind = "breaking" if change.is_breaking else "compatible"
        reason = change.breaks or change.note
        yield json.dumps({"kind": kind, "place": change.place, "what": change.what, "reason": reason})
    for line in undated:
        place, _, what = line.partition(" is ")
        yield json.dumps({"kind": "undated", "place": place, "what": f"is {what}", "reason": ""})
