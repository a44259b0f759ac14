"""`sidecart dead-letters`: list, show, replay, discard dead letters of the running system."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable

from sidecart.cli.arguments import topic
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
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import service_ids

REASON_WIDTH = 80
# a terminal executes control characters, and any client of the system can send them
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `sidecart dead-letters`, each with its arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _add(actions, "list", list_all, "print one line per dead letter of all services")
    _add_filter(listing)
    listing.add_argument("--settled", action="store_true", help="include replayed and discarded dead letters")
    listing.add_argument("--json", action="store_true", help="print all fields, one JSON object per line")
    showing = _add(actions, "show", show, "print all fields of one dead letter, with its event")
    showing.add_argument("id", help="an id, or the start of one")
    for name, command, text in (
        ("replay", replay_them, "publish their events again on the original topics"),
        ("discard", discard_them, "remove them from the list; `show` still prints them"),
    ):
        acting = _add(actions, name, command, text)
        acting.add_argument("ids", nargs="*", metavar="ID", help="an id, or the start of one")
        _add_filter(acting)
        acting.add_argument("--all", action="store_true", help="select all open dead letters")
        acting.add_argument("--dry-run", action="store_true", help="only list the selected dead letters")


def _add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", choices=service_ids(), help="select this service only")
    parser.add_argument("--topic", type=topic, help="select this topic only")
    parser.add_argument("--reason", metavar="TEXT", help="select reasons that contain this text, ignoring case")
    parser.add_argument(
        "--since", metavar="TIME", help="select this time or later: 2026-01-15 or 2026-01-15T09:30 (UTC)"
    )


def list_all(options: argparse.Namespace) -> int:
    """Print one line per dead letter."""
    count = 0
    for letter in find_dead_letters(_running(), _filter(options)):
        count += 1
        if options.json:
            print(json.dumps({name: getattr(letter, name) for name in DeadLetter.__slots__}))
        else:
            print(_line(letter))
    if not options.json:
        print(_number(count))
    return 0


def show(options: argparse.Namespace) -> int:
    """Print all fields of one dead letter."""
    for letter in only(list(find_dead_letters(_running(), Filter((options.id,), settled=True))), options.id):
        for name in ("id", "service", "topic", "time", "status", "reason", "traceparent"):
            print(_escaped(f"{name:12} {getattr(letter, name)}"))
        print("event")
        print(_escaped(_pretty(letter.text)))
    return 0


def replay_them(options: argparse.Namespace) -> int:
    """Publish the events of the selected dead letters again.

    Returns 1 if any replay failed, or if an event has already failed again.
    """

    def check(letter: DeadLetter) -> None:
        replayable(letter)

    return _each(options, "replay", check, replay)


def discard_them(options: argparse.Namespace) -> int:
    """Mark the selected dead letters as discarded; return 1 if any could not be."""
    return _each(options, "discard", lambda _: None, discard)


def _each(
    options: argparse.Namespace,
    verb: str,
    check: Callable[[DeadLetter], None],
    act: Callable[[State, DeadLetter], Outcome],
) -> int:
    selection = _filter(options)
    if selection == Filter() and not options.all:
        raise LaunchError(
            f"select the dead letters to {verb}: give ids, --service, --topic, --reason or --since, or --all"
        )
    state = _running()
    found = list(find_dead_letters(state, selection))
    for each in selection.ids:
        only([letter for letter in found if letter.id.startswith(each)], each)
    outcomes: Counter[str] = Counter()
    for letter in found:
        try:
            check(letter)
            outcome: str = f"would {verb}" if options.dry_run else act(state, letter)
        except LaunchError as error:
            print(f"{_line(letter)}\n    {error}")
            outcome = "failed"
        else:
            print(f"{outcome:17}  {_line(letter)}")
        outcomes[outcome] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or f"{_number(0)}: nothing to {verb}")
    return 1 if set(outcomes) - {"replayed", "discarded", f"would {verb}"} else 0


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(
        tuple(getattr(options, "ids", ())),
        options.service,
        options.topic,
        options.reason,
        options.since,
        getattr(options, "settled", False),
    )


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


def _running() -> State:
    system = runfile.read()
    if system is None or not system.ready:
        raise LaunchError("no system is running: start one with make run")
    return RunningState(system.ports, system.tokens["DAPR_API_TOKEN"])
