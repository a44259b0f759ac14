"""`sidecart kubernetes` changes no cluster that the caller did not choose.

tests/kubernetes runs the commands on a real cluster.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.cli.__main__ import main
from sidecart.cli.forwarding import trial_calls
from sidecart.kubernetes.kubectl import PROGRAM

FAKE = """#!/bin/sh
case "$*" in
"config get-contexts -o name") printf 'far\\nkind-near\\n' ;;
"config current-context") echo far ;;
*"config view"*) echo '{"clusters": [{"cluster": {"server": "https://far.example"}}]}' ;;
*"get namespace sidecart --ignore-not-found -o name") echo namespace/sidecart ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that only reads the kubeconfig: no test may change a cluster of the developer."""
    file = tmp_path / "kubectl"
    file.write_text(FAKE)
    file.chmod(0o755)
    monkeypatch.setenv(PROGRAM, str(file))


def test_the_current_cluster_needs_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing can be asked, so the command prints the cluster and ends."""
    assert 1 == main(["kubernetes", "up", "--no-forward"])

    output = capsys.readouterr()
    assert "cluster far at https://far.example\n" == output.out
    assert "sidecart: name the cluster: --context far, or give --yes\n" == output.err


def test_a_cluster_elsewhere_needs_a_pushed_image(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is applied."""
    assert 1 == main(["kubernetes", "up", "--context", "far", "--no-forward"])

    assert "the cluster far is none of kind, k3d and minikube" in capsys.readouterr().err


def test_placeholders_are_not_applied(capsys: pytest.CaptureFixture[str]) -> None:
    """The overlay for external servers needs a kustomization around it."""
    assert 1 == main(["kubernetes", "up", "--overlay", "external"])

    assert "the overlay external has placeholders" in capsys.readouterr().err


def test_a_deletion_needs_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Records are lost by it."""
    assert 1 == main(["kubernetes", "down", "--context", "far"])

    assert "nothing is deleted" in capsys.readouterr().err


def test_the_example_calls_have_tokens_of_the_cluster() -> None:
    """The key of the local issuer under the launcher is another one."""
    text = trial_calls("http://127.0.0.1:1")

    assert 2 == text.count("./sidecart token --keys .sidecart/kubernetes/token-issuer ")
    assert "http://127.0.0.1:1/" in text
