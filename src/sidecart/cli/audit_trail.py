"""`sidecart audit-trail`: who replayed, discarded or erased what."""

from __future__ import annotations

import click
import msgspec

from sidecart.chassis.audit_trail import PAGE_ENTRIES_MAX, AuditEntry
from sidecart.cli.arguments import kubernetes_option
from sidecart.cli.dead_letter_lines import escaped
from sidecart.cli.running import state_of
from sidecart.launcher.audit import newest_entries

SHOWN = 20


@click.command("audit-trail")
@click.option(
    "--limit",
    type=click.IntRange(1, PAGE_ENTRIES_MAX),
    default=SHOWN,
    show_default=True,
    help="how many entries to print",
)
@click.option("--before", type=click.IntRange(0), metavar="NUMBER", help="continue before this entry")
@click.option("--json", "as_json", is_flag=True, help="print all fields, one JSON object per line")
@kubernetes_option
def command(limit: int, before: int | None, as_json: bool, context: str | None) -> int:
    """Print who replayed, discarded or erased what, newest first.

    An entry is written before its action. `begun` means that the action has not reported its end:
    it runs, or its process was killed.
    """
    with state_of(context) as state:
        found = newest_entries(state, before, limit)
    for each in found:
        print(msgspec.json.encode(each).decode() if as_json else _line(each))
    if not as_json and not found:
        print("no entries" if before is None else f"no entries before {before}")
    if not as_json and found and found[-1].number > 0:
        print(f"older entries: ./sidecart audit-trail --before {found[-1].number}")
    return 0


def _line(entry: AuditEntry) -> str:
    results = ", ".join(f"{count} {outcome}" for outcome, count in entry.results.items())
    ended = f"{entry.outcome}: {results}" if results else entry.outcome
    what = f"{entry.action} {entry.target} ({entry.count})"
    return escaped(f"{entry.number:6}  {entry.at}  {entry.who} by {entry.via}  {what}  {ended}").replace("\n", " ")
