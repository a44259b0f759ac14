"""`python -m sidecart.monitor`: serve the live page until SIGTERM."""

import logging
import sys

from sidecart.chassis.server.serve import run
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.settings import Settings as Served
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.topics import app_ids, read_topics
from sidecart.monitor import description
from sidecart.monitor.app import monitor
from sidecart.monitor.settings import Settings, read


def main() -> None:
    """Serve on the loopback interface, as the launcher sets no other address."""
    serve(read())


def serve(settings: Settings) -> None:
    """Serve the page until SIGTERM; exit with one line if the project's description is wrong."""
    shutdown = ShutdownSignal()
    try:
        described = description.read(root(), app_ids(), read_topics())
    except LaunchError as error:
        sys.exit(str(error))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each health check, ten every 2 s
    # The app calls its sidecar over gRPC, and the sidecar calls no app: the HTTP port is not used.
    served = Served(
        settings.host, settings.port, settings.dapr_grpc_port, settings.app_api_token, settings.dapr_api_token
    )
    run(monitor(settings, described, shutdown), served, shutdown)


if __name__ == "__main__":
    main()
