"""`sidecart flow`: what the records of the services say about one id, over time."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from sidecart.cli.arguments import kubernetes_option
from sidecart.cli.dead_letter_lines import escaped
from sidecart.cli.running import state_of
from sidecart.launcher.flow_trace import trace_flow
from sidecart.launcher.record_keys import read_record_keys


@click.command("flow")
@click.argument("id_", metavar="ID", help="the id of a resource")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object with `moments`, `records` and `problems`")
@kubernetes_option
def command(id_: str, as_json: bool, context: str | None) -> int:
    """Print what happened to one id, from the records of all apps, oldest first.

    The exit code is 1 if no record and no dead letter has the id.
    """
    records = read_record_keys()
    with state_of(context) as state:
        found = trace_flow(state, records, id_)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        for each in found.moments:
            print(escaped(f"{each.at:24}  {each.app:12}  {each.source:11}  {each.what}"))
        for record in found.records:
            # sorted, because PostgreSQL does not keep the sequence of the fields
            fields = ", ".join(f"{name} {value}" for name, value in sorted(record.fields.items()))
            print(escaped(f"{record.app}: {record.key}  {fields}").replace("\n", " "))
        for problem in found.problems:
            print(f"warning: {problem}")
        if not found.moments and not found.records:
            print("nothing is known about this id")
    return 0 if found.moments or found.records else 1
