"""The local issuer serves its public documents, and no call makes a token."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sidecart.issuer import keys
from sidecart.issuer.tokens import ISSUER
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port, is_listening

SECONDS = 20


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a running issuer."""
    port = free_port()
    words = [sys.executable, "-m", "sidecart.issuer", "--port", str(port), "--keys", str(tmp_path)]
    with subprocess.Popen(words) as process:
        Deadline().until(lambda: is_listening(port), SECONDS, lambda: "the issuer does not listen")
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        assert 0 == process.wait(SECONDS)


def test_the_documents_name_the_issuer_and_its_current_keys(url: str, tmp_path: Path) -> None:
    """A rotation needs no restart."""
    with httpx.Client(base_url=url, trust_env=False) as http:
        found = http.get("/.well-known/openid-configuration").json()
        assert ISSUER == found["issuer"]
        assert keys.load(tmp_path).public() == http.get(found["jwks_uri"]).json()
        rotated = keys.rotate(tmp_path)
        assert rotated.public() == http.get("/jwks.json").json()
        private = json.loads((tmp_path / keys.FILE).read_text())["keys"][0]["d"]
        statuses = {path: http.get(path).status_code for path in ("/", f"/{keys.FILE}", "/token", "/..%2fkeys.json")}
        assert {404} == set(statuses.values())
        assert 501 == http.post("/token").status_code
        assert private not in http.get("/jwks.json").text
