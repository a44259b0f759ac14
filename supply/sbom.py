"""Bills of materials (SBOM) of the locks, in CycloneDX: each package with hashes and license."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from supply import licenses, locks, tools

SPECIFICATION = "1.6"
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.from_version(sys.argv[1])).validate_str(sys.stdin.read())
sys.exit(error and str(error))
"""


def bill(python: Path, kind: str) -> str:
    """Return the bill of one of the locks as JSON.

    The same lock gives the same text. Raises LaunchError if the result is no valid CycloneDX.
    """
    options = ["--pyproject", str(root() / "pyproject.toml"), "--output-reproducible", "--sv", SPECIFICATION]
    module = ["-W", "ignore", "-m", "cyclonedx_py"]
    command = [str(python), *module, "requirements", *options, str(root() / locks.LOCKS[kind])]
    document = json.loads(_run(command, ""))
    for component in document["components"]:
        _complete(component)
    document["components"].sort(key=lambda each: each["bom-ref"])
    document.pop("dependencies", None)  # a lock does not say which package needs which
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    _run([str(python), "-c", VALIDATE, SPECIFICATION], text)
    return text


def _complete(component: dict[str, Any]) -> None:
    """Add the license, and replace the line number of the lock by the package's URL."""
    component.pop("description", None)  # the text of the lock's line
    component["bom-ref"] = component["purl"]
    expression = licenses.license_of(component["name"])
    if expression != licenses.UNKNOWN:
        component["licenses"] = [{"expression": expression}]


def _run(command: list[str], text: str) -> str:
    done = subprocess.run(command, env=tools.environment(), input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LaunchError(f"the bill of materials cannot be written: {done.stderr.strip()[-1000:]}")
    return done.stdout
