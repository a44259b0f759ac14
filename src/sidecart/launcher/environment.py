"""The part of the launcher's environment that children inherit."""

import os

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LD_LIBRARY_PATH")
LOGGED = ("LOG_FORMAT", "LOG_LEVEL")
TRACED = "OTEL_"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def plain_environment() -> dict[str, str]:
    """Return the base of a child's environment.

    It excludes DAPR_* and APP_* variables of the user's shell.
    """
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def observed_environment() -> dict[str, str]:
    """Return the log and trace settings for apps, if the user's shell has any."""
    return {name: os.environ[name] for name in LOGGED if os.environ.get(name)} | traced_environment()


def traced_environment() -> dict[str, str]:
    """Return the trace settings, if the user's shell has any."""
    if not os.environ.get(ENDPOINT):
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith(TRACED)}
