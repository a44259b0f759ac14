"""Arguments that several subcommands have."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import read_topics

DEFAULT = "redis"
"""The broker and the store without a choice."""


def add_servers(parser: argparse.ArgumentParser) -> None:
    """Add the choice of broker and store, and the replacement of apps."""
    parser.add_argument(
        "--broker",
        choices=BROKERS,
        default=os.environ.get("BROKER", DEFAULT),
        help="the broker (BROKER; default redis)",
    )
    parser.add_argument(
        "--store",
        choices=STORES,
        default=os.environ.get("STORE", DEFAULT),
        help="the state store (STORE; default redis)",
    )
    parser.add_argument(
        "--with",
        dest="replaced",
        type=_replacement,
        action="append",
        default=[],
        metavar="APP=FOLDER",
        help="replace an app by the program in this folder, as its dapr.yaml defines it",
    )


def chosen_servers(options: argparse.Namespace) -> tuple[str, str]:
    """Return the broker and the store of the command line, or else of the environment."""
    environ = os.environ
    return options.broker or environ.get("BROKER") or DEFAULT, options.store or environ.get("STORE") or DEFAULT


def _replacement(text: str) -> tuple[str, Path]:
    app_id, _, folder = text.partition("=")
    if not app_id or not folder:
        raise argparse.ArgumentTypeError(f"{text} is not APP=FOLDER")
    return app_id, Path(folder)


def topic(text: str) -> str:
    """Return the name of a topic of the project."""
    return one_of(read_topics(), text)


def one_of(known: Iterable[str], text: str) -> str:
    """Return a known name, or raise: a typo must not look like a name without results."""
    if text not in known:
        raise argparse.ArgumentTypeError(f"unknown name {text!r}: choose from {', '.join(map(repr, known))}")
    return text
