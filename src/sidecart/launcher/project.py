"""The project's folder, and the import of its modules."""

import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sidecart.launcher.errors import LaunchError

RUN_FILE = "dapr.yaml"
PROJECT = "SIDECART_PROJECT"
"""The variable that names the project's folder.

The script `./sidecart` sets it to its own folder.
"""
CHECKOUT = Path(__file__).parents[3]
"""The project whose src/ contains this file, unless the toolkit is an installed package."""


@cache
def root() -> Path:
    """Return the folder of the project that the commands work on.

    Raises LaunchError if there is none. The toolkit also runs without a project: the doctor checks
    any folder.
    """
    if named := os.environ.get(PROJECT):
        return Path(named).resolve()
    return find_root(Path.cwd(), CHECKOUT)


def find_root(folder: Path, checkout: Path) -> Path:
    """Return the nearest folder with a dapr.yaml, from `folder` upward, or else the checkout."""
    for each in (folder, *folder.parents, checkout):
        if (each / RUN_FILE).is_file():
            return each.resolve()
    raise LaunchError(f"there is no project: neither {folder} nor a folder above it contains {RUN_FILE}")


def home() -> Path:
    """Return the folder of the data, logs and run file of the shop that `sidecart run` starts."""
    return root() / ".sidecart"


def make_importable() -> None:
    """Let Python import the project's packages, if there is a project.

    The script `./sidecart` and `python -m` do this by themselves, an installed `sidecart` does not.
    """
    try:
        folder = str(root())
    except LaunchError:
        return
    if folder not in sys.path:
        sys.path.insert(0, folder)


def load(reference: str, what: str) -> Any:
    """Import `module:name`, also from the project's folder, and return the named object.

    Raises LaunchError, which says what needs the reference, if that fails.
    """
    make_importable()
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        raise LaunchError(f"{what} cannot be loaded from `{reference}`: {error}") from error
