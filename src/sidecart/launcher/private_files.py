"""The files of a system are for its owner only: data, logs, tokens and the mails of the catcher."""

import os
from pathlib import Path

OTHERS = 0o077
OWNER_ONLY = 0o700


def keep_private(folder: Path) -> None:
    """Create a folder that only its owner may enter.

    From then on, this process and the processes that it starts create files for their owner only.
    """
    os.umask(OTHERS)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(OWNER_ONLY)  # an earlier version may have created it
