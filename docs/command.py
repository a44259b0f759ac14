"""`sidecart docs`: build the documentation as a site, and serve it."""

import contextlib
import functools
import http.server
import subprocess
import sys

import click

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import is_listening
from sidecart.launcher.project import home, root

LOOPBACK = "127.0.0.1"


def build(folder: str) -> int:
    """Build the site; a warning is an error, as is a link that leads nowhere.

    Every page is written again, because its table of contents names all the others.
    """
    words = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--nitpicky",
        "--fail-on-warning",
        "--keep-going",
        "--fresh-env",
        "--write-all",
    ]
    return subprocess.run([*words, "--builder", "html", str(root() / "docs"), folder], check=False).returncode


def _require_free(port: int) -> None:
    """Raise LaunchError for a port that another program has, before the build."""
    if is_listening(port):
        raise LaunchError(f"port {port} is busy: choose another one with --port (make docs DOCS_PORT=...)")


@click.command("docs")
@click.option("--port", type=click.IntRange(1, 65535), default=8008, metavar="PORT", help="the port of the site")
@click.option("--no-serve", is_flag=True, help="only build the site")
def command(port: int, no_serve: bool) -> int:
    """Build the documentation as a site, and serve it until Ctrl-C.

    The exit code is 1 if the build had a warning.
    """
    if not no_serve:
        _require_free(port)
    folder = str(home() / "site")
    print(f"building the site in {folder}", flush=True)
    if build(folder) != 0:
        return 1
    if no_serve:
        return 0
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer((LOOPBACK, port), handler) as server:
        print(f"The documentation is at http://{LOOPBACK}:{port}; Ctrl-C stops it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
