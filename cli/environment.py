"""What children inherit from the launcher's own environment: what any program needs, and nothing of ours."""

import os

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LD_LIBRARY_PATH")


def plain_environment() -> dict[str, str]:
    """A small environment to build a child's upon: a stray DAPR_* or APP_* of a shell changes nothing."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}
