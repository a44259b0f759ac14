"""An app of the shop that loses an event when it is told to: `python -m tests.full.forgetful <app-id> <folder>`.

While the folder has a file that is named like a topic, the next publish of that topic is answered as taken and not
carried out; the file is gone then. The product has no such switch; it is patched here, before the app starts.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from chassis.sidecar import CALL_SECONDS_MAX, HttpSidecar
from cli.project import module_of, write_program


def program(folder: Path, app_id: str, wanted: Path) -> Path:
    """Write the run file that starts such an app in place of ours, for `Options.replaced`."""
    return write_program(folder, app_id, [sys.executable, "-m", "tests.full.forgetful", app_id, str(wanted)])


def main() -> None:
    """Patch, and run the app."""
    app_id, folder = sys.argv[1:]
    original = HttpSidecar.publish

    async def publish(self: HttpSidecar, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        try:
            (Path(folder) / topic).unlink()
        except FileNotFoundError:
            await original(self, topic, event, seconds_max)

    HttpSidecar.publish = publish  # type: ignore[method-assign]  # this module exists to patch
    importlib.import_module(module_of(app_id)).main()


if __name__ == "__main__":
    main()
