"""An app of the shop that loses events on request: `python -m tests.full.forgetful <app-id>
<folder>`.

A file in the folder with the name of a topic makes the app drop its next publish to that topic and
report success. The app then removes the file. The product has no such switch; this module patches
the app before it starts.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from sidecart.chassis.sidecar import Sidecar
from sidecart.chassis.sidecar_api import CALL_SECONDS_MAX
from sidecart.launcher.apps import module_of, write_program


def program(folder: Path, app_id: str, lost: Path) -> Path:
    """Write the run file that starts the patched app in place of ours, for `Options.replaced`."""
    return write_program(folder, app_id, [sys.executable, "-m", "tests.full.forgetful", app_id, str(lost)])


def main() -> None:
    """Patch the app and run it."""
    app_id, folder = sys.argv[1:]
    original = Sidecar.publish

    async def publish(self: Sidecar, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        try:
            (Path(folder) / topic).unlink()
        except FileNotFoundError:
            await original(self, topic, event, seconds_max)

    Sidecar.publish = publish  # type: ignore[method-assign]  # this module exists to patch
    importlib.import_module(module_of(app_id)).main()


if __name__ == "__main__":
    main()
