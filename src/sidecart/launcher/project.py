"""The project's folder, and the import of its modules."""

import os
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sidecart.launcher.errors import LaunchError

RUN_FILE = "dapr.yaml"
PROJECT_FILE = "pyproject.toml"
TABLE = "tool.sidecart"
"""The table of the project file in which a project declares what only it knows."""
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
        if not Path(named).is_dir():
            raise LaunchError(f"{PROJECT} names no folder: {named}")
        return Path(named).resolve()
    return find_root(Path.cwd(), CHECKOUT)


def find_root(folder: Path, checkout: Path) -> Path:
    """Return the nearest folder with a dapr.yaml, from `folder` upward, or else the checkout."""
    for each in (folder, *folder.parents, checkout):
        if (each / RUN_FILE).is_file():
            return each.resolve()
    raise LaunchError(f"there is no project: neither {folder} nor a folder above it contains {RUN_FILE}")


def home() -> Path:
    """Return the folder of the data, logs and run file of the system that `sidecart run` starts."""
    return root() / ".sidecart"


def declared(folder: Path) -> dict[str, Any]:
    """Return the table `[tool.sidecart]` of a project; empty without the table or the file.

    Raises LaunchError, which names the file, if it cannot be read.
    """
    file = folder / PROJECT_FILE
    try:
        found: object = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LaunchError(f"{file} cannot be read: {error}") from error
    for key in TABLE.split("."):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    if not isinstance(found, dict):
        raise LaunchError(f"{file}: [{TABLE}] is not a table")
    return found


def declared_text(name: str) -> str:
    """Return one text of the project's table; empty without it. Raises LaunchError for no text."""
    found = declared(root()).get(name, "")
    if not isinstance(found, str):
        raise LaunchError(f"{root() / PROJECT_FILE}: {name} in [{TABLE}] is not a text")
    return found


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
