"""A program of Dapr is the verified release, or a build: daprd and sentry alike."""

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecart.launcher import daprd, first_downloads, programs, sentry
from sidecart.launcher.dapr_release import RELEASES_ENV, VERSION, DaprProgram
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.first_downloads import ChangedRelease
from sidecart.launcher.programs import Report
from tests.unit.launcher.release_archive import release_archive

PROGRAM = b"#!/bin/sh\necho 1.18.2\n# nameresolution/sqlite\n"

Releases = dict[str, bytes]


@pytest.fixture(params=[daprd.PROGRAM, sentry.PROGRAM], ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> DaprProgram:
    """Each program that the launcher obtains from Dapr's releases."""
    found: DaprProgram = request.param
    return found


def archive_of(program: DaprProgram) -> str:
    """The name of a program's release archive."""
    return f"{program.name}_{programs.system()}_{programs.machine()}.tar.gz"


def archive(program: DaprProgram, content_of_program: bytes = PROGRAM) -> bytes:
    """A release archive with a program of two lines."""
    return release_archive({program.name: content_of_program})


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """A server in place of the official releases; the test puts its files into the dict."""
    files: Releases = {}

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
        monkeypatch.setenv(RELEASES_ENV, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # The launcher remembers each download; a test's archive must not replace a real one.
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield files
        server.shutdown()
        thread.join()


def test_an_archive_has_the_same_bytes_at_any_time(program: DaprProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test may compute a checksum in another second than the archive that it serves."""
    first = archive(program)
    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert archive(program) == first


def publish(files: Releases, program: DaprProgram, content: bytes, checksum: str) -> None:
    """Put an archive and its checksum where the release has them."""
    files[f"/v{VERSION}/{archive_of(program)}"] = content
    files[f"/v{VERSION}/{archive_of(program)}.sha256"] = f"{checksum} *{archive_of(program)}\n".encode()


def test_a_release_is_unpacked(program: DaprProgram, releases: Releases, tmp_path: Path) -> None:
    """With the published checksum, the program is unpacked from the archive."""
    packed = archive(program)
    publish(releases, program, packed, hashlib.sha256(packed).hexdigest())

    unpacked = program.download(tmp_path, print, Deadline())

    assert unpacked.read_bytes() == PROGRAM
    assert program.name == unpacked.name


def test_a_release_with_another_checksum_is_not_used(program: DaprProgram, releases: Releases, tmp_path: Path) -> None:
    """The archive is neither unpacked nor replaced by a build."""
    publish(releases, program, archive(program), "0" * 64)

    with pytest.raises(programs.BadChecksum, match="but 0000"):
        program.fetch(tmp_path / program.name, print, Deadline())
    assert list(tmp_path.iterdir()) == []


FORGED = b"#!/bin/sh\necho forged\n"


def replaced(program: DaprProgram, releases: Releases, folder: Path) -> Path:
    """Fetch a program, remove it, replace the release and its checksum; return the path."""
    packed, forged = archive(program), archive(program, FORGED)
    publish(releases, program, packed, hashlib.sha256(packed).hexdigest())
    path = folder / program.name
    program.fetch(path, print, Deadline())
    path.unlink()
    publish(releases, program, forged, hashlib.sha256(forged).hexdigest())
    return path


def test_a_release_that_was_replaced_with_its_checksum_is_not_used(
    program: DaprProgram, releases: Releases, tmp_path: Path
) -> None:
    """The launcher remembers the first download; the error has both sums and names the record."""
    path = replaced(program, releases, tmp_path)
    first, second = (hashlib.sha256(archive(program, each)).hexdigest() for each in (PROGRAM, FORGED))

    with pytest.raises(ChangedRelease) as refused:
        program.fetch(path, print, Deadline())

    record = Path(str(refused.value).rpartition(" ")[2])
    assert f"has SHA-256 {second}, but the first download of {program.title} had {first}" in str(refused.value)
    assert not path.exists()
    assert record.read_text(encoding="ascii") == f"{first}\n"
    record.unlink()
    program.fetch(path, print, Deadline())
    assert path.read_bytes() == FORGED


def test_without_its_memory_the_launcher_uses_a_replaced_release(
    program: DaprProgram, releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant of the test above: the forged program is installed."""
    monkeypatch.setattr(first_downloads, "require_same", lambda *_: None)
    path = replaced(program, releases, tmp_path)

    program.fetch(path, print, Deadline())

    assert path.read_bytes() == FORGED


def test_the_same_release_is_used_again(program: DaprProgram, releases: Releases, tmp_path: Path) -> None:
    """A second download of the same archive is no change."""
    packed = archive(program)
    publish(releases, program, packed, hashlib.sha256(packed).hexdigest())
    path = tmp_path / program.name

    for _ in range(2):
        path.unlink(missing_ok=True)
        program.fetch(path, print, Deadline())

    assert path.read_bytes() == PROGRAM


def test_a_program_is_built_without_a_release(
    program: DaprProgram, releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 404 for the checksum leads to a build, and the reason is reported."""
    output: list[str] = []

    def build(self: DaprProgram, folder: Path, report: programs.Report, deadline: Deadline) -> Path:
        (folder / "built").write_bytes(PROGRAM)
        return folder / "built"

    monkeypatch.setattr(DaprProgram, "build", build)

    program.fetch(tmp_path / program.name, output.append, Deadline())

    assert (tmp_path / program.name).read_bytes() == PROGRAM
    assert os.access(tmp_path / program.name, os.X_OK)
    assert "status 404" in output[0]


def test_a_page_instead_of_a_checksum_is_not_a_release(
    program: DaprProgram, releases: Releases, tmp_path: Path
) -> None:
    """A captive portal's page is not accepted as a checksum."""
    releases[f"/v{VERSION}/{archive_of(program)}.sha256"] = b"<html>please log in</html>"

    with pytest.raises(programs.NotReleased):
        program.download(tmp_path, print, Deadline())


def test_a_machine_without_open_internet_falls_back(
    program: DaprProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection counts as a missing release at once."""
    monkeypatch.setenv(RELEASES_ENV, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with pytest.raises(programs.NotReleased, match="refused"):
        program.download(tmp_path, print, Deadline())


def test_a_fetched_program_is_cached(
    program: DaprProgram, releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second search makes no request."""
    packed = archive(program)
    publish(releases, program, packed, hashlib.sha256(packed).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(program.env, raising=False)
    finders: dict[str, Callable[[Report], Path]] = {
        "daprd": lambda report: daprd.find(report, Deadline()).path,
        "sentry": lambda report: sentry.find(report, Deadline()),
    }
    find = finders[program.name]

    first = find(lambda text: None)
    releases.clear()
    output: list[str] = []
    second = find(output.append)

    assert PROGRAM == first.read_bytes()
    assert (first, []) == (second, output)


def test_the_configured_program_must_be_executable(
    program: DaprProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable has precedence; an unusable program is reported in one line."""
    installed = tmp_path / "mine"
    installed.write_bytes(b"#!/bin/sh\n")
    installed.chmod(0o755)
    monkeypatch.setenv(program.env, str(installed))

    assert installed == program.configured()
    monkeypatch.setenv(program.env, str(tmp_path / "nothing"))
    with pytest.raises(LaunchError, match=f"{program.env}=.*not an executable program"):
        program.configured()
