"""The HTTP side of the local issuer: the discovery document and the public keys.

`python -m sidecart.issuer --port 8030 --keys FOLDER` serves until SIGTERM. It has no call that
makes a token: `sidecart token` signs with the key file, so only the owner of the file can.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sidecart.issuer import keys
from sidecart.issuer.tokens import ISSUER
from sidecart.launcher.servers.bounded import BoundedHttpServer

DISCOVERY_PATH = "/.well-known/openid-configuration"


class IssuerHandler(BaseHTTPRequestHandler):
    """Answers GET of the two documents. The keys are read again for each answer."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *connection: Any) -> None:
        self._folder = folder
        super().__init__(*connection)  # answers all requests of the connection

    def do_GET(self) -> None:
        """Answer with a document."""
        if self.path == keys.JWKS_PATH:
            self._answer(200, keys.load(self._folder).public())
        elif self.path == DISCOVERY_PATH:
            self._answer(
                200,
                {
                    "issuer": ISSUER,
                    "jwks_uri": f"http://{self.headers.get('host', 'localhost')}{keys.JWKS_PATH}",
                    "id_token_signing_alg_values_supported": [keys.ALGORITHM],
                },
            )
        else:
            self._answer(404, {"detail": f"the documents are {DISCOVERY_PATH} and {keys.JWKS_PATH}"})

    def _answer(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the documents are public."""


def main() -> None:
    """Serve until SIGTERM, on the loopback interface by default."""
    parser = argparse.ArgumentParser(description="Serve the public keys of the local token issuer.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--keys", type=Path, required=True, help="the folder of the key file, which is created, or a key in PEM"
    )
    options = parser.parse_args()
    keys.load(options.keys)
    try:
        server = BoundedHttpServer((options.host, options.port), partial(IssuerHandler, options.keys))
    except OSError as error:
        sys.exit(f"port {options.port} of {options.host} cannot be used: {error.strerror}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
