"""The `sidecart` command: one subcommand per thing that a person does with the shop."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from cli.errors import Interrupted, LaunchError
from cli.servers.registry import BROKERS, STORES
from cli.topics import SERVICES, TOPICS

Command = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; what a person has to act on is one line on stderr and exit code 1."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except LaunchError as error:
        print(f"sidecart: {error}", file=sys.stderr)
        return 1
    except (Interrupted, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `sidecart logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sidecart", description="An event-driven shop on Dapr sidecars.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = _add(commands, "run", _run, "start the shop and keep it until Ctrl-C (make run)")
    _add_servers(run)
    run.add_argument(
        "--port", type=_port, default=os.environ.get("PORT", "8000"), help="the gateway's port (PORT; default 8000)"
    )
    run.add_argument(
        "--gateways", type=int, default=1, metavar="N", help="so many gateways, behind one address (default 1)"
    )
    run.add_argument(
        "--replicas",
        type=_replicas,
        action="append",
        default=[],
        metavar="SERVICE=N",
        help="so many of a service (order=2; default one of each)",
    )
    run.add_argument("--no-monitor", dest="monitor", action="store_false", help="without the live page")
    demo = _add(commands, "demo", _demo, "start a shop of its own, drive both flows, show every event (make demo)")
    _add_servers(demo)
    demo.add_argument("--without", action="append", default=[], metavar="APP", help="do not start this app")
    demo.add_argument("--url", help="drive the shop that runs here, and start none (containers: http://127.0.0.1:8000)")
    demo.add_argument(
        "--mail-url", default="http://127.0.0.1:8025", help="with --url: its mail catcher (default %(default)s)"
    )
    test = _add(commands, "test", _test, "run all tests, end to end on each broker (make test)")
    test.add_argument("--broker", choices=[*BROKERS, "all"], default="all", help="end to end on this one only")
    test.add_argument("--e2e-only", action="store_true", help="leave out unit, contracts and simulation")
    _add(
        commands,
        "test-full",
        _test_full,
        "what takes minutes: 20,000 generated requests, the Node service, containers, the live page (make test-full)",
    )
    _add(commands, "test-compose", _test_compose, "the compose file in containers, on each broker (make test-compose)")
    bench = _add(commands, "bench", _bench, "ours and the same shop without sidecars, by turns in one run (make bench)")
    bench.add_argument("--broker", choices=[*BROKERS, "all"], default="all", help="on this one only")
    bench.add_argument("--quick", action="store_true", help="two short rounds: some minutes (make bench QUICK=1)")
    bench.add_argument(
        "--only",
        action="append",
        choices=["systems", "concurrency", "latency-breakdown", "growth", "experiments", "monitor"],
        help="this part; several: each (default all; --quick: systems, concurrency). Redis only: concurrency, growth",
    )
    bench.add_argument("--users", type=int, default=1_000, help="systems: who order, by turns (default %(default)s)")
    bench.add_argument("--rounds", type=int, default=5, help="systems: of both by turns (default %(default)s)")
    bench.add_argument("--alone", type=int, default=200, help="systems: one by one, a round (default %(default)s)")
    bench.add_argument("--seconds", type=float, default=5.0, help="systems: each load of a round (default %(default)s)")
    bench.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="tables, results and plots go there (default .sidecart/bench)",
    )
    faults = _add(commands, "faults", _faults, "faults under load, then an audit (make faults)")
    _add_servers(faults)
    faults.add_argument(
        "--seed",
        dest="seeds",
        type=int,
        action="append",
        help="which faults, when (SEED; default 1); several: one run each",
    )
    faults.add_argument(
        "--kind",
        default=os.environ.get("KIND", "kills"),
        help="kills (the default), lossy, swallow, network, rollback, refusals, unparseable, or all, one after the "
        "other (KIND; docs/reliability.md)",
    )
    faults.add_argument("--short", action="store_true", help="a minute of kills, not four; 20 s of the others")
    faults.add_argument(
        "--mutants", action="store_true", help="with each safeguard taken out, and three seeds: found by the auditor?"
    )
    faults.add_argument("--show", action="store_true", help="run nothing: the tables of the runs that were written")
    faults.add_argument("--mutant", type=_mutant, metavar="NAME", help="with --mutants: this one only")
    faults.add_argument("--keep", type=Path, metavar="FOLDER", help="keep ledger and logs in this folder")
    soak = _add(commands, "soak", _soak, "orders at a constant rate; what memory, streams and records do meanwhile")
    _add_servers(soak)
    soak.add_argument("--minutes", type=float, default=20.0, help="for so long (default %(default)s)")
    soak.add_argument("--per-second", type=float, default=10.0, help="so many orders (default %(default)s)")
    lint = _add(
        commands,
        "lint",
        _lint,
        "ruff, mypy --strict, a reason beside each exception, the doctor on our own YAML, the prose rules (make lint)",
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
        "what in the YAML, the environment and the running sidecars will lose events, cost speed or not start",
    )
    _add_doctor(doctor)
    _add(commands, "status", _status, "show the processes of the running shop")
    logs = _add(commands, "logs", _logs, "show what the processes print")
    logs.add_argument("name", nargs="?", help="one process, e.g. order or order-sidecar (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as they print more")
    logs.add_argument("-n", "--lines", type=int, default=20, help="how many lines of each (default 20)")
    stop = _add(commands, "stop", _stop, "stop the running shop")
    stop.add_argument("--seconds", type=float, default=90, help="how long to wait for it (default 90)")
    letters = _add(commands, "dead-letters", _list_dead_letters, "events that a service could not use, with the reason")
    actions = letters.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _add(actions, "list", _list_dead_letters, "one line for each, of all services")
    _add_filter(listing)
    listing.add_argument("--settled", action="store_true", help="those too that were replayed or discarded")
    listing.add_argument("--json", action="store_true", help="everything, one JSON object a line")
    showing = _add(actions, "show", _show_dead_letter, "all that is known of one, with the event")
    showing.add_argument("id", help="its id, or the beginning of it")
    for name, command, text in (
        ("replay", _replay_dead_letters, "publish their events again, on their own topics"),
        ("discard", _discard_dead_letters, "list them no more; they can still be shown"),
    ):
        acting = _add(actions, name, command, text)
        acting.add_argument("ids", nargs="*", metavar="ID", help="an id, or the beginning of it")
        _add_filter(acting)
        acting.add_argument("--all", action="store_true", help="all that are open")
        acting.add_argument("--dry-run", action="store_true", help="only say which")
    reconciling = _add(
        commands, "reconcile", _reconcile, "list the accepted requests that have not ended, and heal them"
    )
    reconciling.add_argument("--dry-run", action="store_true", help="only list them, those under way too")
    reconciling.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="how long to wait for them (default %(default)s)"
    )
    _add(commands, "reset", _reset, "remove the data and logs of the stopped shop")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", choices=SERVICES, help="of this one only")
    parser.add_argument("--topic", type=_topic, help="of this topic only")
    parser.add_argument("--reason", metavar="TEXT", help="whose reason has this in it, in any case")
    parser.add_argument("--since", metavar="TIME", help="not older: 2026-01-15 or 2026-01-15T09:30 (UTC)")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = f"Say {parser.description}, with file, line and the fix."
    parser.epilog = (
        "Exit code 1 if there is danger (events are lost, something does not start), 0 if there is only advice. In a "
        "file, `# doctor: publish-only` or `# doctor: read-only` says how a component is used, and `# doctor: ignore "
        "RULE: the reason` silences a rule. DAPR_API_TOKEN is used for --sidecar."
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="folders and files that one sidecar reads, as by --resources-path; a Multi-App Run file or a compose file "
        "among them is followed (default: the project's own, on every broker and store, and the shop that runs)",
    )
    parser.add_argument(
        "--each", action="store_true", help="each file and folder in PATH by itself, as if a sidecar read nothing else"
    )
    parser.add_argument(
        "--broker", choices=[*BROKERS, "all"], default="all", help="of the project's own: this one only"
    )
    parser.add_argument("--store", choices=[*STORES, "all"], default="all", help="of the project's own: this one only")
    parser.add_argument(
        "--env-file",
        dest="env_files",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="NAME=value lines that the sidecars of PATH will find in their environment, besides this one",
    )
    parser.add_argument(
        "--sidecar",
        dest="sidecars",
        action="append",
        default=[],
        metavar="URL",
        help="ask this sidecar, too (http://127.0.0.1:3500)",
    )
    parser.add_argument(
        "--redis", action="append", default=[], metavar="HOST:PORT", help="ask this server what it keeps, too"
    )
    parser.add_argument("--files-only", action="store_true", help="do not ask the shop that runs")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each finding")


def _add_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker", choices=BROKERS, default=os.environ.get("BROKER", "redis"), help="(BROKER; default redis)"
    )
    parser.add_argument(
        "--store", choices=STORES, default=os.environ.get("STORE", "redis"), help="(STORE; default redis)"
    )
    parser.add_argument(
        "--with",
        dest="replaced",
        type=_replacement,
        action="append",
        default=[],
        metavar="APP=FOLDER",
        help="run the program in this folder in place of ours; its dapr.yaml says how (user=examples/user-node)",
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
    return _one_of(TOPICS, text)


def _one_of(known: Iterable[str], text: str) -> str:
    """The name, if it is known; a wrong one must not look like one that there is nothing of."""
    if text not in known:
        raise argparse.ArgumentTypeError(f"there is no {text!r}: choose from {', '.join(map(repr, known))}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return int(text)


# Each module is loaded when it is used: `status` needs no test runner.


def _run(options: argparse.Namespace) -> int:
    from cli import run

    return run.run(options)


def _demo(options: argparse.Namespace) -> int:
    from cli import demo

    return demo.run(options)


def _test(options: argparse.Namespace) -> int:
    from cli import checks

    return checks.test(options)


def _test_full(options: argparse.Namespace) -> int:
    from cli import checks

    return checks.test_full(options)


def _test_compose(options: argparse.Namespace) -> int:
    from cli import checks

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
        raise LaunchError("--mutant says which one of --mutants: give both")
    return run.run(options)


def _soak(options: argparse.Namespace) -> int:
    from bench import soak

    return soak.run(options)


def _lint(options: argparse.Namespace) -> int:
    from cli import checks

    return checks.lint(options)


def _doctor(options: argparse.Namespace) -> int:
    from cli.doctor import command

    return command.run(options)


def _status(options: argparse.Namespace) -> int:
    from cli import watch

    return watch.status(options)


def _logs(options: argparse.Namespace) -> int:
    from cli import watch

    return watch.logs(options)


def _stop(options: argparse.Namespace) -> int:
    from cli import run

    return run.stop(options)


def _list_dead_letters(options: argparse.Namespace) -> int:
    from cli import dead_letter_commands

    return dead_letter_commands.list_all(options)


def _show_dead_letter(options: argparse.Namespace) -> int:
    from cli import dead_letter_commands

    return dead_letter_commands.show(options)


def _replay_dead_letters(options: argparse.Namespace) -> int:
    from cli import dead_letter_commands

    return dead_letter_commands.replay_them(options)


def _discard_dead_letters(options: argparse.Namespace) -> int:
    from cli import dead_letter_commands

    return dead_letter_commands.discard_them(options)


def _reconcile(options: argparse.Namespace) -> int:
    from cli import reconcile

    return reconcile.reconcile(options)


def _reset(options: argparse.Namespace) -> int:
    from cli import watch

    return watch.reset(options)


if __name__ == "__main__":
    sys.exit(main())
