"""The real tools of the supply chain: CycloneDX bills, and pip-audit with a local database."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port
from supply import locks, tools
from supply.audit import DataUnreachable, audit
from supply.sbom import bill

LOCK = locks.TOOLS
"""The shortest lock without markers."""


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the environment of the tools; it is installed once."""
    return tools.python(print, Deadline())


@pytest.mark.parametrize("kind", locks.LOCKS)
def test_a_bill_lists_every_package_with_hashes_and_license(python: Path, kind: str) -> None:
    """bill() validates the document; two bills of one lock are equal."""
    text = bill(python, kind)
    document = json.loads(text)
    components = document["components"]

    assert ("CycloneDX", "1.6") == (document["bomFormat"], document["specVersion"])
    assert "sidecart" == document["metadata"]["component"]["name"]
    assert locks.packages(locks.LOCKS[kind]) == sorted(locks.Package(one["name"], one["version"]) for one in components)
    for one in components:
        assert f"pkg:pypi/{one['name']}@{one['version']}" == one["purl"] == one["bom-ref"]
        assert one["licenses"][0]["expression"]
        assert {"SHA-256"} == {each["alg"] for each in one["externalReferences"][0]["hashes"]}
    assert text == bill(python, kind)


@pytest.fixture
def database() -> Iterator[tuple[str, dict[str, object]]]:
    """Return the URL of a database with OSV's interface, and its answer for each package."""
    known: dict[str, object] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(known.get(asked["package"]["name"], {})).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query", known
        server.shutdown()
        thread.join()


def source(url: str) -> tuple[str, ...]:
    """Return the options that choose a database."""
    return ("--vulnerability-service", "osv", "--osv-url", url)


def test_a_known_vulnerability_is_found(
    python: Path, database: tuple[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same lock has no finding before the database knows one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url, known = database
    before = audit(python, LOCK, source(url))
    [package] = [each for each in locks.packages(LOCK) if each.name == "urllib3"]
    event = {"introduced": "0"}, {"fixed": "999.0"}
    affected = {
        "package": {"name": "urllib3", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(event)}],
    }
    known["urllib3"] = {
        "vulns": [{"id": "PYSEC-2099-1", "summary": "x", "published": "2026-01-01T00:00:00Z", "affected": [affected]}]
    }

    assert [] == before
    [found] = audit(python, LOCK, source(url))
    assert ("urllib3", package.version, "PYSEC-2099-1", ("999.0",)) == (
        found.package,
        found.version,
        found.id,
        found.fixed,
    )


def test_a_database_that_does_not_answer_is_no_success(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason has pip-audit's error."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataUnreachable, match="refused"):
        audit(python, LOCK, source(f"http://127.0.0.1:{free_port()}/v1/query"))
