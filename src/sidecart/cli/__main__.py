"""The `sidecart` command and its subcommands."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import SERVICES, read_topics

Command = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand.

    For an error that the user can fix, print one line on stderr and return 1.
    """
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except LaunchError as error:
        print(f"sidecart: {error}", file=sys.stderr)
        return 1
    except (Interrupted, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader closed the pipe, as in `sidecart logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sidecart", description="An event-driven shop on Dapr sidecars.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = _add(commands, "run", _run, "run the shop until Ctrl-C (make run)")
    _add_servers(run)
    run.add_argument(
        "--port", type=_port, default=os.environ.get("PORT", "8000"), help="the gateway's port (PORT; default 8000)"
    )
    run.add_argument(
        "--gateways", type=int, default=1, metavar="N", help="the number of gateways behind one address (default 1)"
    )
    run.add_argument(
        "--replicas",
        type=_replicas,
        action="append",
        default=[],
        metavar="SERVICE=N",
        help="the number of replicas of a service (order=2; default one of each)",
    )
    run.add_argument("--no-monitor", dest="monitor", action="store_false", help="do not start the live page")
    demo = _add(commands, "demo", _demo, "start a separate shop, run both flows, show every event (make demo)")
    _add_servers(demo)
    demo.add_argument("--without", action="append", default=[], metavar="APP", help="do not start this app")
    demo.add_argument("--url", help="use the running shop at this URL, start none (containers: http://127.0.0.1:8000)")
    demo.add_argument(
        "--mail-url",
        default="http://127.0.0.1:8025",
        help="with --url: the URL of the mail catcher (default %(default)s)",
    )
    test = _add(commands, "test", _test, "run all tests, the end-to-end tests on each broker (make test)")
    test.add_argument(
        "--broker", choices=[*BROKERS, "all"], default="all", help="run the end-to-end tests on this broker only"
    )
    test.add_argument("--e2e-only", action="store_true", help="skip the unit, contract and simulation tests")
    _add(
        commands,
        "test-full",
        _test_full,
        "run the slow tests: 20,000 generated requests, the Node service, containers, the live page (make test-full)",
    )
    _add(
        commands,
        "test-compose",
        _test_compose,
        "test the compose file in containers, on each broker (make test-compose)",
    )
    bench = _add(
        commands,
        "bench",
        _bench,
        "compare the shop with the same shop without sidecars, alternating in one run (make bench)",
    )
    bench.add_argument("--broker", choices=[*BROKERS, "all"], default="all", help="run on this broker only")
    bench.add_argument(
        "--quick", action="store_true", help="run two short rounds, which take minutes (make bench QUICK=1)"
    )
    bench.add_argument(
        "--only",
        action="append",
        choices=["systems", "concurrency", "latency-breakdown", "growth", "experiments", "monitor"],
        help="run this part; repeatable (default all; --quick: systems, concurrency). Redis only: concurrency, growth",
    )
    bench.add_argument(
        "--users", type=int, default=1_000, help="systems: the number of users who order (default %(default)s)"
    )
    bench.add_argument(
        "--rounds", type=int, default=5, help="systems: rounds that alternate both systems (default %(default)s)"
    )
    bench.add_argument(
        "--alone", type=int, default=200, help="systems: sequential orders per round (default %(default)s)"
    )
    bench.add_argument(
        "--seconds", type=float, default=5.0, help="systems: seconds of each load in a round (default %(default)s)"
    )
    bench.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write tables, results and plots to this folder (default .sidecart/bench)",
    )
    faults = _add(commands, "faults", _faults, "inject faults under load, then audit the result (make faults)")
    _add_servers(faults)
    faults.add_argument(
        "--seed",
        dest="seeds",
        type=int,
        action="append",
        help="the seed of the fault schedule (SEED; default 1); repeatable: one run each",
    )
    faults.add_argument(
        "--kind",
        default=os.environ.get("KIND", "kills"),
        help="kills (the default), lossy, swallow, network, rollback, refusals, unparseable, or all in sequence "
        "(KIND; docs/reliability.md)",
    )
    faults.add_argument(
        "--short", action="store_true", help="run one minute of kills instead of four, and 20 s of the other kinds"
    )
    faults.add_argument(
        "--mutants",
        action="store_true",
        help="remove each safeguard in turn, with three seeds, and check that the auditor finds the damage",
    )
    faults.add_argument("--show", action="store_true", help="run nothing; print the tables of the saved runs")
    faults.add_argument("--mutant", type=_mutant, metavar="NAME", help="with --mutants: run this mutant only")
    faults.add_argument("--keep", type=Path, metavar="FOLDER", help="save the ledger and the logs in this folder")
    soak = _add(
        commands, "soak", _soak, "place orders at a constant rate and measure the growth of memory, streams and records"
    )
    _add_servers(soak)
    soak.add_argument("--minutes", type=float, default=20.0, help="the duration in minutes (default %(default)s)")
    soak.add_argument("--per-second", type=float, default=10.0, help="orders per second (default %(default)s)")
    lint = _add(
        commands,
        "lint",
        _lint,
        "run ruff, mypy --strict, the doctor and the prose rules; require a reason beside each lint exception "
        "(make lint)",
    )
    lint.add_argument(
        "--prose",
        type=Path,
        nargs="*",
        metavar="PATH",
        help="check only the prose of these files and folders, and list warnings too (default: the whole project)",
    )
    doctor = _add(
        commands,
        "doctor",
        _doctor,
        "find configuration that can lose events, slow the system down or prevent startup",
    )
    _add_doctor(doctor)
    _add(commands, "status", _status, "show the processes of the running shop")
    logs = _add(commands, "logs", _logs, "show the logs of the processes")
    logs.add_argument("name", nargs="?", help="the process, such as order or order-sidecar (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing new lines")
    logs.add_argument("-n", "--lines", type=int, default=20, help="the number of lines per process (default 20)")
    stop = _add(commands, "stop", _stop, "stop the running shop")
    stop.add_argument("--seconds", type=float, default=90, help="how many seconds to wait for the stop (default 90)")
    letters = _add(commands, "dead-letters", _list_dead_letters, "manage the events that a service could not process")
    actions = letters.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _add(actions, "list", _list_dead_letters, "print one line per dead letter of all services")
    _add_filter(listing)
    listing.add_argument("--settled", action="store_true", help="include replayed and discarded dead letters")
    listing.add_argument("--json", action="store_true", help="print all fields, one JSON object per line")
    showing = _add(actions, "show", _show_dead_letter, "print all fields of one dead letter, with its event")
    showing.add_argument("id", help="an id, or the start of one")
    for name, command, text in (
        ("replay", _replay_dead_letters, "publish their events again on the original topics"),
        ("discard", _discard_dead_letters, "remove them from the list; `show` still prints them"),
    ):
        acting = _add(actions, name, command, text)
        acting.add_argument("ids", nargs="*", metavar="ID", help="an id, or the start of one")
        _add_filter(acting)
        acting.add_argument("--all", action="store_true", help="select all open dead letters")
        acting.add_argument("--dry-run", action="store_true", help="only list the selected dead letters")
    reconciling = _add(
        commands, "reconcile", _reconcile, "list the unfinished accepted requests and repeat their commands"
    )
    reconciling.add_argument("--dry-run", action="store_true", help="only list them, including those in progress")
    reconciling.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for the flows to end (default %(default)s)",
    )
    _add(commands, "reset", _reset, "delete the data and logs of the stopped shop")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", choices=SERVICES, help="select this service only")
    parser.add_argument("--topic", type=_topic, help="select this topic only")
    parser.add_argument("--reason", metavar="TEXT", help="select reasons that contain this text, ignoring case")
    parser.add_argument(
        "--since", metavar="TIME", help="select this time or later: 2026-01-15 or 2026-01-15T09:30 (UTC)"
    )


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find configuration in YAML, the environment and running sidecars that can lose events, slow the system down "
        "or prevent startup. Each finding names file, line and fix."
    )
    parser.epilog = (
        "The exit code is 1 for a danger (lost events, a failed start), and 0 if there is only advice. In a file, "
        "`# doctor: publish-only` or `# doctor: read-only` states how a component is used, and `# doctor: ignore "
        "RULE: the reason` silences a rule. --sidecar sends DAPR_API_TOKEN."
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="folders and files that one sidecar reads, as with --resources-path; the doctor follows Multi-App Run "
        "files and compose files (default: this project on every broker and store, and the running shop)",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="check each file and folder in PATH separately, as if a sidecar read nothing else",
    )
    parser.add_argument(
        "--broker", choices=[*BROKERS, "all"], default="all", help="without PATH: check this broker only"
    )
    parser.add_argument("--store", choices=[*STORES, "all"], default="all", help="without PATH: check this store only")
    parser.add_argument(
        "--env-file",
        dest="env_files",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file of NAME=value lines to add to the environment of the sidecars in PATH",
    )
    parser.add_argument(
        "--sidecar",
        dest="sidecars",
        action="append",
        default=[],
        metavar="URL",
        help="also query this sidecar (http://127.0.0.1:3500)",
    )
    parser.add_argument(
        "--redis", action="append", default=[], metavar="HOST:PORT", help="also inspect the keys on this server"
    )
    parser.add_argument("--files-only", action="store_true", help="do not query the running shop")
    parser.add_argument("--json", action="store_true", help="print each finding as one line of JSON")


def _add_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker",
        choices=BROKERS,
        default=os.environ.get("BROKER", "redis"),
        help="the broker (BROKER; default redis)",
    )
    parser.add_argument(
        "--store",
        choices=STORES,
        default=os.environ.get("STORE", "redis"),
        help="the state store (STORE; default redis)",
    )
    parser.add_argument(
        "--with",
        dest="replaced",
        type=_replacement,
        action="append",
        default=[],
        metavar="APP=FOLDER",
        help="replace an app by the program in this folder, as its dapr.yaml defines it (user=examples/user-node)",
    )


def _replacement(text: str) -> tuple[str, Path]:
    app_id, _, folder = text.partition("=")
    if not app_id or not folder:
        raise argparse.ArgumentTypeError(f"{text} is not APP=FOLDER, as in user=examples/user-node")
    return app_id, Path(folder)


def _replicas(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not SERVICE=NUMBER, as in order=2")
    return name, int(number)


def _mutant(text: str) -> str:
    from tests.faults.mutants import MUTANTS

    return _one_of(MUTANTS, text)


def _topic(text: str) -> str:
    return _one_of(read_topics(), text)


def _one_of(known: Iterable[str], text: str) -> str:
    """Return a known name, or raise: a typo must not look like a name without results."""
    if text not in known:
        raise argparse.ArgumentTypeError(f"unknown name {text!r}: choose from {', '.join(map(repr, known))}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return int(text)


# Each module is imported when its command runs: `status` needs no test runner.


def _run(options: argparse.Namespace) -> int:
    from sidecart.cli import run

    return run.run(options)


def _demo(options: argparse.Namespace) -> int:
    from sidecart.cli import demo

    return demo.run(options)


def _test(options: argparse.Namespace) -> int:
    from sidecart.cli import checks

    return checks.test(options)


def _test_full(options: argparse.Namespace) -> int:
    from sidecart.cli import checks

    return checks.test_full(options)


def _test_compose(options: argparse.Namespace) -> int:
    from sidecart.cli import checks

    return checks.test_compose(options)


def _bench(options: argparse.Namespace) -> int:
    from bench import run

    return run.run(options)


def _faults(options: argparse.Namespace) -> int:
    from tests.faults import run

    if options.seeds is None and "SEED" in os.environ:
        if not os.environ["SEED"].isdecimal():
            raise LaunchError(f"SEED={os.environ['SEED']} is not a whole number")
        options.seeds = [int(os.environ["SEED"])]
    if options.mutant is not None and not options.mutants:
        raise LaunchError("--mutant selects one of --mutants: pass both")
    return run.run(options)


def _soak(options: argparse.Namespace) -> int:
    from bench import soak

    return soak.run(options)


def _lint(options: argparse.Namespace) -> int:
    from sidecart.cli import checks

    return checks.lint(options)


def _doctor(options: argparse.Namespace) -> int:
    from sidecart.doctor import command

    return command.run(options)


def _status(options: argparse.Namespace) -> int:
    from sidecart.cli import watch

    return watch.status(options)


def _logs(options: argparse.Namespace) -> int:
    from sidecart.cli import watch

    return watch.logs(options)


def _stop(options: argparse.Namespace) -> int:
    from sidecart.cli import run

    return run.stop(options)


def _list_dead_letters(options: argparse.Namespace) -> int:
    from sidecart.cli import dead_letter_commands

    return dead_letter_commands.list_all(options)


def _show_dead_letter(options: argparse.Namespace) -> int:
    from sidecart.cli import dead_letter_commands

    return dead_letter_commands.show(options)


def _replay_dead_letters(options: argparse.Namespace) -> int:
    from sidecart.cli import dead_letter_commands

    return dead_letter_commands.replay_them(options)


def _discard_dead_letters(options: argparse.Namespace) -> int:
    from sidecart.cli import dead_letter_commands

    return dead_letter_commands.discard_them(options)


def _reconcile(options: argparse.Namespace) -> int:
    from sidecart.cli import reconcile

    return reconcile.reconcile(options)


def _reset(options: argparse.Namespace) -> int:
    from sidecart.cli import watch

    return watch.reset(options)


if __name__ == "__main__":
    sys.exit(main())
