"""Where Vale comes from: $VALE, PATH, the release with the pinned checksum, or the build."""

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecart.launcher import programs
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.first_downloads import ChangedRelease
from tests.lint import vale
from tests.unit.launcher.release_archive import release_archive

PROGRAM = f"#!/bin/sh\necho vale version {vale.VERSION}\n".encode()
ARCHIVE = f"vale_{vale.VERSION}_{vale._platform()}.tar.gz"


def archive() -> bytes:
    """A release archive with a program of two lines and the other files of a real one."""
    return release_archive({"LICENSE": b"MIT", "README.md": b"Vale", "vale": PROGRAM})


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """Serve the dict's files in place of the official releases."""
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
        monkeypatch.setenv(vale.RELEASES_ENV, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # The launcher remembers each download; a test's archive must not replace a real one.
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield files
        server.shutdown()
        thread.join()


def publish(files: dict[str, bytes], content: bytes, checksum: str) -> None:
    """Put an archive and the checksums of all archives where a release has them."""
    files[f"/v{vale.VERSION}/{ARCHIVE}"] = content
    checksums = f"{'a' * 64}  vale_{vale.VERSION}_Windows_64-bit.zip\n{checksum}  {ARCHIVE}\n"
    files[f"/v{vale.VERSION}/vale_{vale.VERSION}_checksums.txt"] = checksums.encode()


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> str:
    """Pin the checksum of the test's archive in place of the real one."""
    checksum = hashlib.sha256(archive()).hexdigest()
    monkeypatch.setitem(vale.CHECKSUMS, vale._platform(), checksum)
    return checksum


def test_a_pinned_release_is_unpacked_once(
    releases: dict[str, bytes], pinned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call downloads the program; the second uses the cache and no connection."""
    publish(releases, archive(), pinned)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("VALE", raising=False)

    first = vale.find(print, Deadline())
    releases.clear()
    second = vale.find(print, Deadline())

    assert first == second
    assert first.read_bytes() == PROGRAM
    assert os.access(first, os.X_OK)


def test_a_release_with_another_published_checksum_is_rejected(
    releases: dict[str, bytes], pinned: str, tmp_path: Path
) -> None:
    """A release that was replaced after the pin stops lint; the build does not hide it."""
    publish(releases, archive(), "0" * 64)

    with pytest.raises(programs.BadChecksum, match="is pinned"):
        vale.fetch(tmp_path / "vale", print, Deadline())
    assert list(tmp_path.iterdir()) == []


def test_an_archive_with_another_checksum_is_rejected(releases: dict[str, bytes], pinned: str, tmp_path: Path) -> None:
    """The archive itself is compared, too."""
    publish(releases, archive() + b"x", pinned)

    with pytest.raises(programs.BadChecksum, match="is published"):
        vale.fetch(tmp_path / "vale", print, Deadline())


def test_a_replaced_release_is_refused_even_with_a_new_pin(
    releases: dict[str, bytes], pinned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vale's first download is remembered, as Dapr's."""
    publish(releases, archive(), pinned)
    vale.fetch(tmp_path / "vale", print, Deadline())
    other = archive() + b"x"
    checksum = hashlib.sha256(other).hexdigest()
    monkeypatch.setitem(vale.CHECKSUMS, vale._platform(), checksum)
    publish(releases, other, checksum)

    with pytest.raises(ChangedRelease, match=f"the first download of Vale {vale.VERSION} had {pinned}"):
        vale.fetch(tmp_path / "vale", print, Deadline())


def test_without_a_release_vale_is_built(
    releases: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """404 for the checksums leads to the build, and the reason is reported."""
    output: list[str] = []

    def build(folder: Path, report: programs.Report, deadline: Deadline) -> Path:
        (folder / "built").write_bytes(PROGRAM)
        return folder / "built"

    monkeypatch.setattr(vale, "build", build)

    vale.fetch(tmp_path / "vale", output.append, Deadline())

    assert (tmp_path / "vale").read_bytes() == PROGRAM
    assert "status 404" in output[0]


def test_a_platform_without_a_release_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NotReleased comes before any connection."""
    monkeypatch.setattr(vale, "_platform", lambda: "Linux_riscv64")

    with pytest.raises(programs.NotReleased, match="Linux_riscv64"):
        vale.download(tmp_path, print, Deadline())


def test_the_build_names_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vale's parsers are C: without a compiler the message has both remedies."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LaunchError, match=r"apt-get install gcc\); or install Vale"):
        vale.build(tmp_path, print, Deadline())


def test_a_failed_build_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of the Go toolchain and the remedy stand in one message."""
    for name, script in (("cc", "exit 0"), ("go", "echo no such module >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    with pytest.raises(LaunchError, match=r"failed: no such module \(install Vale"):
        vale.build(tmp_path, print, Deadline())


def test_vale_from_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VALE wins over PATH; a value that is not executable is an error."""
    program = tmp_path / "my-vale"
    program.write_bytes(PROGRAM)
    monkeypatch.setenv("VALE", str(program))

    with pytest.raises(LaunchError, match="not a program that can be run"):
        vale.find(print, Deadline())
    program.chmod(0o755)

    assert program == vale.find(print, Deadline())


@pytest.mark.parametrize(("version", "is_used"), [(vale.VERSION, True), ("3.0.0", False)])
def test_vale_on_path_is_used_in_the_pinned_version_only(
    version: str, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version splits sentences differently, so the cache is used in its place."""
    (tmp_path / "vale").write_text(f"#!/bin/sh\necho vale version {version}\n")
    (tmp_path / "vale").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("VALE", raising=False)
    monkeypatch.setattr(programs, "cached", lambda *_: Path("cache"))

    assert (tmp_path / "vale" if is_used else Path("cache")) == vale.find(print, Deadline())
