"""`sidecart dead-letters`: list, show, replay, discard dead letters of the running system."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from sidecart.cli.arguments import kubernetes_option
from sidecart.cli.names import OneOf
from sidecart.launcher import runfile
from sidecart.launcher.dead_letters import (
    DeadLetter,
    Filter,
    Outcome,
    State,
    discard,
    find_dead_letters,
    only,
    replay,
    replayable,
)
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import read_topics, service_ids

REASON_WIDTH = 80
# a terminal executes control characters, and any client of the system can send them
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")

service_option = click.option("--service", type=OneOf("service", service_ids), help="select this service only")
topic_option = click.option("--topic", type=OneOf("topic", read_topics), help="select this topic only")
reason_option = click.option("--reason", metavar="TEXT", help="select reasons that contain this text, ignoring case")
since_option = click.option(
    "--since", metavar="TIME", help="select this time or later: 2026-01-15 or 2026-01-15T09:30 (UTC)"
)
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...", help="an id, or the start of one")
all_option = click.option("--all", "select_all", is_flag=True, help="select all open dead letters")
dry_run_option = click.option("--dry-run", is_flag=True, help="only list the selected dead letters")
json_option = click.option("--json", "as_json", is_flag=True, help="print all fields, one JSON object per line")


@click.group("dead-letters")
def command() -> None:
    """Manage the events that a service could not process."""


@command.command("list")
@service_option
@topic_option
@reason_option
@since_option
@click.option("--settled", is_flag=True, help="include replayed and discarded dead letters")
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
    with _state(context) as state:
        for letter in find_dead_letters(state, Filter((), service, topic, reason, since, settled)):
            count += 1
            print(_as_json(letter) if as_json else _line(letter))
    if not as_json:
        print(_number(count))
    return 0


@command.command("show")
@click.argument("letter_id", metavar="ID", help="an id, or the start of one")
@json_option
@kubernetes_option
def show(letter_id: str, as_json: bool, context: str | None) -> int:
    """Print all fields of one dead letter, with its event.

    If several services have a dead letter of this id, print each of them.
    """
    with _state(context) as state:
        found = list(find_dead_letters(state, Filter((letter_id,), settled=True)))
    for letter in only(found, letter_id):
        if as_json:
            print(_as_json(letter))
            continue
        for name in ("id", "service", "topic", "time", "status", "reason", "traceparent"):
            # A reason quotes the event, so it must not begin a new line either.
            print(_escaped(f"{name:12} {getattr(letter, name)}").replace("\n", "\\n"))
        print("event")
        print(_escaped(_pretty(letter.text)))
    return 0


@command.command("replay")
@ids_argument
@service_option
@topic_option
@reason_option
@since_option
@all_option
@dry_run_option
@kubernetes_option
def replay_them(
    ids: tuple[str, ...],
    service: str | None,
    topic: str | None,
    reason: str | None,
    since: str | None,
    select_all: bool,
    dry_run: bool,
    context: str | None,
) -> int:
    """Publish the events again on their original topics.

    The exit code is 1 if a replay failed, or if an event has already failed again.
    """
    selection = _selection("replay", Filter(ids, service, topic, reason, since), select_all)
    with _state(context) as state:
        return _each("replay", state, selection, dry_run, replayable, replay)


@command.command("discard")
@ids_argument
@service_option
@topic_option
@reason_option
@since_option
@all_option
@dry_run_option
@kubernetes_option
def discard_them(
    ids: tuple[str, ...],
    service: str | None,
    topic: str | None,
    reason: str | None,
    since: str | None,
    select_all: bool,
    dry_run: bool,
    context: str | None,
) -> int:
    """Remove dead letters from the list; `show` still prints them.

    The exit code is 1 if one could not be discarded.
    """
    selection = _selection("discard", Filter(ids, service, topic, reason, since), select_all)
    with _state(context) as state:
        return _each("discard", state, selection, dry_run, lambda _: None, discard)


def _selection(verb: str, selection: Filter, select_all: bool) -> Filter:
    """Return the selection, or raise LaunchError: only --all selects without a filter."""
    if selection == Filter() and not select_all:
        raise LaunchError(
            f"select the dead letters to {verb}: give ids, --service, --topic, --reason or --since, or --all"
        )
    return selection


def _each(
    verb: str,
    state: State,
    selection: Filter,
    dry_run: bool,
    check: Callable[[DeadLetter], object],
    act: Callable[[State, DeadLetter], Outcome],
) -> int:
    found = list(find_dead_letters(state, selection))
    for each in selection.ids:
        only([letter for letter in found if letter.id.startswith(each)], each)
    outcomes: Counter[str] = Counter()
    for letter in found:
        try:
            check(letter)
            outcome: str = f"would {verb}" if dry_run else act(state, letter)
        except LaunchError as error:
            print(f"{_line(letter)}\n    {error}")
            outcome = "failed"
        else:
            print(f"{outcome:17}  {_line(letter)}")
        outcomes[outcome] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or f"{_number(0)}: nothing to {verb}")
    return 1 if set(outcomes) - {"replayed", "discarded", f"would {verb}"} else 0


def _as_json(letter: DeadLetter) -> str:
    return json.dumps({name: getattr(letter, name) for name in DeadLetter.__slots__})


def _line(letter: DeadLetter) -> str:
    reason = " ".join(letter.reason.split())
    cut = reason if len(reason) <= REASON_WIDTH else f"{reason[: REASON_WIDTH - 3]}..."
    status = "" if letter.status == "open" else f"[{letter.status}] "
    return _escaped(f"{letter.id}  {letter.time}  {letter.service:12}  {letter.topic:24}  {status}{cut}")


def _escaped(text: str) -> str:
    """Escape the control characters in a text."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _number(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _pretty(event: str) -> str:
    """Indent an event's JSON, or return the text unchanged if it is not JSON."""
    try:
        return json.dumps(json.loads(event), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return event


@contextmanager
def _state(context: str | None) -> Iterator[State]:
    """Yield the state of the running system, or of the one on a cluster."""
    if context is None:
        yield _running()
        return
    from sidecart.cli.cluster import system_on  # other systems need no kubectl
    from sidecart.kubernetes.forwards import running_state

    with running_state(system_on(context), Deadline()) as state:
        yield state


def _running() -> State:
    system = runfile.read()
    if system is None or not system.ready:
        raise LaunchError("no system is running: start one with make run")
    return RunningState(system.ports, system.tokens)
