"""The part of the launcher's environment that children inherit."""

import os
import sysconfig
from pathlib import Path

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LD_LIBRARY_PATH")
LOGGED = ("LOG_FORMAT", "LOG_LEVEL")
TRACED = "OTEL_"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TOOLKIT = Path(__file__).parents[2]
"""The folder that contains the toolkit's package, in a checkout and in an installation."""


def plain_environment() -> dict[str, str]:
    """Return the base of a child's environment.

    It excludes DAPR_* and APP_* variables of the launcher's shell. In a checkout it names the
    toolkit's folder, so that an app imports the launcher's toolkit.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    is_installed = TOOLKIT == Path(sysconfig.get_path("purelib"))
    return inherited if is_installed else {**inherited, "PYTHONPATH": str(TOOLKIT)}


def observed_environment() -> dict[str, str]:
    """Return the log and trace settings for apps, if the launcher's shell has any."""
    return {name: os.environ[name] for name in LOGGED if os.environ.get(name)} | traced_environment()


def traced_environment() -> dict[str, str]:
    """Return the trace settings, if the launcher's shell has any."""
    if not os.environ.get(ENDPOINT):
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith(TRACED)}
