"""`sidecart dead-letters`: list, group, show, replay, discard dead letters of a running system."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import click

from sidecart.cli import dead_letter_lines as lines
from sidecart.cli.arguments import Text, Time, kubernetes_option
from sidecart.cli.names import OneOf
from sidecart.cli.running import state_of
from sidecart.cli.signal_handlers import Stop
from sidecart.launcher.audit import of_command_line
from sidecart.launcher.dead_letter_groups import group_dead_letters, require_group
from sidecart.launcher.dead_letter_runs import DONE, Selection, perform, select
from sidecart.launcher.dead_letters import DeadLetter, Filter, State, find_dead_letters, only
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.replays import replayable
from sidecart.launcher.topics import read_topics, service_ids

PROGRESS_LETTERS = 100
"""A run of a group prints its progress after this many dead letters."""

service_option = click.option("--service", type=OneOf("service", service_ids), help="select this service only")
topic_option = click.option("--topic", type=OneOf("topic", read_topics), help="select this topic only")
reason_option = click.option(
    "--reason", type=Text(), metavar="TEXT", help="select reasons that contain this text, ignoring case"
)
since_option = click.option(
    "--since", type=Time(), metavar="TIME", help="select this time or later: 2026-01-15 or 2026-01-15T09:30 (UTC)"
)
json_option = click.option("--json", "as_json", is_flag=True, help="print all fields, one JSON object per line")
FILTER = (
    click.argument("ids", nargs=-1, type=Text(), metavar="[ID]...", help="an id, or the start of one"),
    service_option,
    topic_option,
    reason_option,
    since_option,
    click.option(
        "--group",
        type=Text(),
        metavar="GROUP",
        help="select this group of `dead-letters groups`: its id, or the start of it",
    ),
    click.option("--all", "select_all", is_flag=True, help="select all open dead letters"),
    click.option("--dry-run", is_flag=True, help="only list the selected dead letters"),
    kubernetes_option,
)


def filtered(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select dead letters for an action."""
    for option in reversed(FILTER):
        function = option(function)
    return function


@click.group("dead-letters")
def command() -> None:
    """Manage the events that a service could not process."""


@command.command("list")
@service_option
@topic_option
@reason_option
@since_option
@click.option("--settled", is_flag=True, help="include replayed, discarded and erased dead letters")
@json_option
@kubernetes_option
def list_all(
    service: str | None,
    topic: str | None,
    reason: str | None,
    since: str | None,
    settled: bool,
    as_json: bool,
    context: str | None,
) -> int:
    """Print one line per dead letter of all services."""
    count = 0
    with state_of(context) as state:
        for letter in find_dead_letters(state, Filter((), service, topic, reason, since, settled)):
            count += 1
            print(lines.as_json(letter) if as_json else lines.line(letter))
    if not as_json:
        print(lines.number(count))
    return 0


@command.command("groups")
@service_option
@topic_option
@json_option
@kubernetes_option
def groups(service: str | None, topic: str | None, as_json: bool, context: str | None) -> int:
    """Print one line per cause, with the number of its dead letters and their first and last time.

    A cause is a service, a topic, and a reason without the values in it. `replay` and `discard`
    take its id as --group.
    """
    with state_of(context) as state:
        found = group_dead_letters(state, service, topic)
    if not as_json and found.groups:
        print(lines.GROUP_HEADER)
    for each in found.groups:
        print(json.dumps(asdict(each)) if as_json else lines.group_line(each))
    if not as_json:
        print(lines.group_summary(found.groups))
        if found.ungrouped:
            print(f"{lines.number(found.ungrouped)} of further causes: select a --service or a --topic")
    return 0


@command.command("show")
@click.argument("letter_id", type=Text(), metavar="ID", help="an id, or the start of one")
@json_option
@kubernetes_option
def show(letter_id: str, as_json: bool, context: str | None) -> int:
    """Print all fields of one dead letter, with its event.

    If several services have a dead letter of this id, print each of them.
    """
    with state_of(context) as state:
        found = list(find_dead_letters(state, Filter((letter_id,), settled=True)))
    for letter in only(found, letter_id):
        if as_json:
            print(lines.as_json(letter))
            continue
        for name in ("id", "service", "topic", "time", "status", "reason", "traceparent"):
            # A reason quotes the event, so it must not begin a new line either.
            print(lines.escaped(f"{name:12} {getattr(letter, name)}").replace("\n", "\\n"))
        print("event")
        print(lines.escaped(lines.pretty(letter.text)))
    return 0


@command.command("replay")
@filtered
def replay_them(**options: Any) -> int:
    """Publish the events again on their original topics, and wait for the outcome of each.

    The exit code is 1 if a replay failed, if an event has failed again, if its service has not
    processed it within 15 s, or if another run was faster. Ctrl-C stops after the current dead
    letter; those that it did not reach stay open. The audit trail names you.
    """
    return _act("replay", replayable, **options)


@command.command("discard")
@filtered
def discard_them(**options: Any) -> int:
    """Remove dead letters from the list; `show` still prints them.

    The exit code is 1 if one could not be discarded, or if another run was faster. The audit
    trail names you.
    """
    return _act("discard", lambda _: None, **options)


def _act(
    verb: str,
    check: Callable[[DeadLetter], object],
    *,
    ids: tuple[str, ...],
    select_all: bool,
    dry_run: bool,
    context: str | None,
    **fields: str | None,
) -> int:
    chosen = Filter(ids, **fields)  # type: ignore[arg-type]  # click passes each option by its name
    if chosen == Filter() and not select_all:
        raise LaunchError(
            f"select the dead letters to {verb}: give ids, --service, --topic, --reason, --since or --group, or --all"
        )
    stop = Stop()
    with state_of(context) as state:
        if chosen.group is not None:
            chosen = replace(chosen, group=require_group(state, chosen.group))
        selection = select(state, chosen)
        for each in chosen.ids:
            only(_of(selection, each), each)
        outcomes = _try(verb, state, selection, check) if dry_run else _perform(verb, state, selection, stop)
    print(
        ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        or f"{lines.number(0)}: nothing to {verb}"
    )
    return stop.exit_code or (1 if set(outcomes) - {*DONE, f"would {verb}"} else 0)


def _of(selection: Selection, prefix: str) -> list[DeadLetter]:
    """Return the selected dead letters whose ids begin with a prefix, without their contents."""
    return [DeadLetter(id_, service, *[""] * 5) for service, id_ in selection.ids if id_.startswith(prefix)]


def _try(verb: str, state: State, selection: Selection, check: Callable[[DeadLetter], object]) -> Counter[str]:
    """Print what a run would do."""
    outcomes: Counter[str] = Counter()
    for letter in find_dead_letters(state, selection.filter):
        outcome, why = f"would {verb}", ""
        try:
            check(letter)
        except LaunchError as error:
            outcome, why = "failed", str(error)
        _print(letter, outcome, why)
        outcomes[outcome] += 1
    return outcomes


def _perform(verb: str, state: State, selection: Selection, stop: Stop) -> Counter[str]:
    if not selection.ids:
        return Counter()
    done: Counter[str] = Counter()

    def report(letter: DeadLetter, outcome: str, why: str) -> None:
        done[outcome] += 1
        if selection.filter.group is None or outcome not in DONE:
            _print(letter, outcome, why)
        elif done.total() % PROGRESS_LETTERS == 0:
            print(f"{done.total()} of {len(selection.ids)}", file=sys.stderr)

    with stop:
        return perform(state, verb, selection, of_command_line(), report, stop.is_requested)


def _print(letter: DeadLetter, outcome: str, why: str) -> None:
    if why:
        print(f"{lines.line(letter)}\n    {lines.escaped(why)}")
    else:
        print(f"{outcome:17}  {lines.line(letter)}")
