"""The launcher finds daprd: an installed program, then the verified release, then a build."""

import hashlib
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecart.launcher import daprd, programs
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError

PROGRAM = b"#!/bin/sh\necho 1.18.2\n# nameresolution/sqlite\n"
ARCHIVE = f"daprd_{programs.system()}_{programs.machine()}.tar.gz"


def archive() -> bytes:
    """A release archive with a program of two lines."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        entry = tarfile.TarInfo("daprd")
        entry.size = len(PROGRAM)
        packed.addfile(entry, io.BytesIO(PROGRAM))
    return content.getvalue()


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A server in place of the official releases; the test puts its files into the dict."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(daprd.RELEASES_ENV, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield files
        server.shutdown()
        thread.join()


def publish(files: dict[str, bytes], content: bytes, checksum: str) -> None:
    """Put an archive and its checksum where the release has them."""
    files[f"/v{daprd.VERSION}/{ARCHIVE}"] = content
    files[f"/v{daprd.VERSION}/{ARCHIVE}.sha256"] = f"{checksum} *{ARCHIVE}\n".encode()


def test_a_release_is_unpacked(releases: dict[str, bytes], tmp_path: Path) -> None:
    """With the published checksum, the program is unpacked from the archive."""
    publish(releases, archive(), hashlib.sha256(archive()).hexdigest())

    program = daprd.download(tmp_path, print, Deadline())

    assert program.read_bytes() == PROGRAM


def test_a_release_with_another_checksum_is_not_used(releases: dict[str, bytes], tmp_path: Path) -> None:
    """The archive is neither unpacked nor replaced by a build."""
    publish(releases, archive(), "0" * 64)

    with pytest.raises(programs.BadChecksum, match="but 0000"):
        daprd.fetch(tmp_path / "daprd", print, Deadline())
    assert list(tmp_path.iterdir()) == []


def test_daprd_is_built_without_a_release(
    releases: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 404 for the checksum leads to a build, and the reason is reported."""
    output: list[str] = []

    def build(folder: Path, report: programs.Report, deadline: Deadline) -> Path:
        (folder / "built").write_bytes(PROGRAM)
        return folder / "built"

    monkeypatch.setattr(daprd, "build", build)

    daprd.fetch(tmp_path / "daprd", output.append, Deadline())

    assert (tmp_path / "daprd").read_bytes() == PROGRAM
    assert os.access(tmp_path / "daprd", os.X_OK)
    assert "status 404" in output[0]


def test_a_page_instead_of_a_checksum_is_not_a_release(releases: dict[str, bytes], tmp_path: Path) -> None:
    """A captive portal's page is not accepted as a checksum."""
    releases[f"/v{daprd.VERSION}/{ARCHIVE}.sha256"] = b"<html>please log in</html>"

    with pytest.raises(programs.NotReleased):
        daprd.download(tmp_path, print, Deadline())


def test_a_machine_without_open_internet_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection counts as a missing release at once."""
    monkeypatch.setenv(daprd.RELEASES_ENV, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with pytest.raises(programs.NotReleased, match="refused"):
        daprd.download(tmp_path, print, Deadline())


def test_a_fetched_program_is_cached(
    releases: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second search makes no request."""
    publish(releases, archive(), hashlib.sha256(archive()).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DAPRD", raising=False)

    first = daprd.find(lambda text: None, Deadline())
    releases.clear()
    output: list[str] = []
    second = daprd.find(output.append, Deadline())

    assert first == second
    assert first.has_sqlite_resolver
    assert output == []


def test_the_configured_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAPRD has precedence; an unusable program is reported in one line."""
    program = tmp_path / "my-daprd"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("DAPRD", str(program))

    found = daprd.find(print, Deadline())

    assert (program, "$DAPRD", False) == (found.path, found.source, found.has_sqlite_resolver)
    monkeypatch.setenv("DAPRD", str(tmp_path / "nothing"))
    with pytest.raises(LaunchError, match="not an executable program"):
        daprd.find(print, Deadline())


def test_two_launchers_do_not_fetch_at_once(tmp_path: Path) -> None:
    """The second launcher waits for the first, reports it, and can be stopped while it waits."""
    output: list[str] = []
    stopping_deadline = Deadline()
    with programs.locked(tmp_path / "lock", "daprd", print, Deadline()):
        timer = threading.Timer(0.3, stopping_deadline.stop)
        timer.start()

        with pytest.raises(Interrupted), programs.locked(tmp_path / "lock", "daprd", output.append, stopping_deadline):
            pass

        timer.join()
    assert output == ["another launcher is fetching daprd: waiting for it"]


def test_a_marker_across_two_blocks_is_found(tmp_path: Path) -> None:
    """The search reads the program in blocks of 4 MiB and finds a marker across two of them."""
    file = tmp_path / "program"
    file.write_bytes(b"x" * ((1 << 22) - 5) + daprd.SQLITE_RESOLVER)

    assert daprd.contains(file, daprd.SQLITE_RESOLVER)
    assert not daprd.contains(file, b"nameresolution/other")
