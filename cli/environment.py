"""What children inherit from the launcher's own environment: what any program needs, and nothing of ours."""

import os

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LD_LIBRARY_PATH")
LOGGED = ("LOG_FORMAT", "LOG_LEVEL")
TRACED = "OTEL_"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def plain_environment() -> dict[str, str]:
    """A small environment to build a child's upon: a stray DAPR_* or APP_* of a shell changes nothing."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def observed_environment() -> dict[str, str]:
    """What the apps are told beside it: how they are to be looked at, if the shell says so."""
    return {name: os.environ[name] for name in LOGGED if os.environ.get(name)} | traced_environment()


def traced_environment() -> dict[str, str]:
    """Where traces go and how, if the shell says so; else nothing."""
    if not os.environ.get(ENDPOINT):
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith(TRACED)}
