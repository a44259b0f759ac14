"""`python -m monitor`: the live page, until SIGTERM."""

import logging

from chassis.serve import run
from chassis.settings import LOOPBACK
from chassis.settings import Settings as Served
from chassis.shutdown import ShutdownSignal
from monitor.app import monitor
from monitor.settings import read


def main() -> None:
    """Serve on the loopback interface only: whoever sees the page can do what it can."""
    settings, shutdown = read(), ShutdownSignal()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each of ten questions every two seconds
    # Its sidecar is called over gRPC, and calls nobody: the other port is not used.
    served = Served(LOOPBACK, settings.port, settings.dapr_grpc_port, settings.app_api_token, settings.dapr_api_token)
    run(monitor(settings, shutdown), served, shutdown)


if __name__ == "__main__":
    main()
