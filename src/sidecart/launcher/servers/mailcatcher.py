"""A mail server for local use: it accepts every mail, delivers none, and shows them at a URL.

`python -m sidecart.launcher.servers.mailcatcher --smtp-port 1025 --http-port 8025 --journal FILE`
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from sidecart.launcher.servers.bounded import SILENT_SECONDS_MAX, BoundedController, BoundedHttpServer
from sidecart.launcher.servers.mail_http import http_side
from sidecart.launcher.servers.mail_smtp import SmtpSide
from sidecart.launcher.servers.mailbox import Mailbox

MAIL_BYTES_MAX = 1024 * 1024


def main() -> None:
    """Serve SMTP and HTTP until SIGTERM, on the loopback interface by default."""
    parser = argparse.ArgumentParser(description="Accept every mail, deliver none, and show them at a URL.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--journal", type=Path, help="store the mails in this file, and load them at startup")
    parser.add_argument(
        "--to-recipient", default="250 OK", help="the SMTP response to each recipient, to test other responses"
    )
    parser.add_argument(
        "--pause-seconds", type=float, default=0.0, help="the delay before the response to each recipient"
    )
    parser.add_argument("--late-seconds", type=float, default=0.0, help="the delay before the final 250 of a mail")
    options = parser.parse_args()
    mailbox = Mailbox(options.journal)
    side = SmtpSide(mailbox, options.to_recipient, options.pause_seconds, options.late_seconds)
    smtp = BoundedController(
        side,
        hostname=options.host,
        port=options.smtp_port,
        data_size_limit=MAIL_BYTES_MAX,
        ident="sidecart mail catcher",
        timeout=SILENT_SECONDS_MAX + options.pause_seconds + options.late_seconds,
    )
    try:
        web = BoundedHttpServer((options.host, options.http_port), http_side(mailbox, side))
        smtp.start()
    except OSError as error:
        sys.exit(f"port {options.smtp_port} or {options.http_port} of {options.host} cannot be used: {error.strerror}")
    # shutdown() waits for serve_forever, which runs in this thread, so another thread must call it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=web.shutdown).start())
    web.serve_forever(poll_interval=0.1)
    web.server_close()
    smtp.stop()
    mailbox.close()


if __name__ == "__main__":
    main()
