"""Dapr's sentry: the process that signs the certificates of the sidecars."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from sidecart.launcher.dapr_release import DaprProgram
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.identities import NAMESPACE
from sidecart.launcher.programs import Report

NAME = "sentry"
PROGRAM = DaprProgram(NAME, "SENTRY", packages=1100)
START_SECONDS = 30.0
STOP_SECONDS = 10.0
ANSWER_SECONDS_MAX = 2.0
"""A healthy sentry answers within milliseconds."""


def find(report: Report, deadline: Deadline) -> Path:
    """Find or obtain sentry, as docs/reference/settings.md says."""
    return (PROGRAM.configured() or PROGRAM.cached(report, deadline)).resolve()


def command(program: Path, configuration: Path, credentials: Path, port: int) -> list[str]:
    """Build the command line of a sentry on the loopback interface.

    The port of the health check is any free one, because sentry opens it on every interface and
    ignores `--healthz-listen-address` (dapr 1.18.2, pkg/healthz/server). It serves nothing else.
    """
    return [
        str(program),
        *("--config", str(configuration)),
        *("--issuer-credentials", str(credentials)),
        *("--listen-address", "127.0.0.1"),
        *("--port", str(port)),
        *("--healthz-port", "0"),
        *("--log-level", "info"),
        "--enable-metrics=false",
    ]


def environment() -> dict[str, str]:
    """Return the variables that sentry reads."""
    return {"NAMESPACE": NAMESPACE}


def problem(port: int) -> str | None:
    """Return why sentry cannot sign a certificate now, or None.

    A handshake also finds a sentry that accepts connections and is paused.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the sidecars check who answers
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX) as connection,
            context.wrap_socket(connection),
        ):
            return None
    except OSError as error:
        return f"{NAME} is unreachable: {error}"
