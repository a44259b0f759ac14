"""kubectl as a program: its words, its errors, its contexts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.kubernetes import kubectl as module
from sidecart.kubernetes.kubectl import CURRENT, PROGRAM, Kubectl, KubectlError, find, program
from sidecart.launcher.errors import Interrupted, LaunchError

FAKE = """#!/bin/sh
case "$*" in
"config get-contexts -o name") printf 'one\\ntwo\\n' ;;
"config current-context") {current} ;;
*interrupted*) kill -INT $$ ;;
*) echo "$* failed" >&2; cat >&2; exit 1 ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of kubectl, because a real one is not on every machine."""
    file = tmp_path / "kubectl"
    file.write_text(FAKE.format(current="echo two"))
    file.chmod(0o755)
    monkeypatch.setenv(PROGRAM, str(file))
    return file


def test_the_words_have_kubeconfig_context_and_namespace() -> None:
    """Only those that are set."""
    assert ["kubectl", "get"] == Kubectl(Path("kubectl")).command("get")
    found = Kubectl(Path("kubectl"), Path("file"), context="one").within("there")
    assert ["kubectl", "--kubeconfig", "file", "--context", "one", "-n", "there", "get"] == found.command("get")


def test_a_failure_has_the_words_of_kubectl(fake: Path) -> None:
    """Both the command and what it wrote."""
    with pytest.raises(KubectlError, match=r"(?s)kubectl apply -f -: .*apply -f - failed.*text"):
        Kubectl(fake).apply("text")


def test_a_stop_is_no_failure(fake: Path) -> None:
    """Ctrl-C ends kubectl with this process."""
    with pytest.raises(Interrupted):
        Kubectl(fake)("interrupted")


def test_a_context_is_found(fake: Path) -> None:
    """The current one by its name, so that every later call has the same one."""
    assert "one" == find("one").context
    assert "two" == find(CURRENT).context


def test_an_unknown_context_is_named_with_the_known_ones(fake: Path) -> None:
    """A typo changes no other cluster."""
    with pytest.raises(LaunchError, match="no context three: choose from one, two"):
        find("three")


def test_a_kubeconfig_without_a_current_context_needs_a_choice(fake: Path) -> None:
    """The system never guesses."""
    fake.write_text(FAKE.format(current="exit 1"))

    with pytest.raises(LaunchError, match="no current context: choose from one, two"):
        find(CURRENT)


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the page that says how to install it."""
    monkeypatch.delenv(PROGRAM, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=r"kubectl is not installed: install it \(https"):
        program()

    monkeypatch.setenv(PROGRAM, "nothing")
    with pytest.raises(LaunchError, match="KUBECTL=nothing is no program"):
        program()


def test_a_program_that_does_not_end_is_stopped(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers holds no command for ever."""
    monkeypatch.setattr(module, "COMMAND_SECONDS_MAX", 0.1)
    fake.write_text("#!/bin/sh\nexec sleep 10\n")

    with pytest.raises(KubectlError, match=r"no end within 0.1 s"):
        Kubectl(fake)("get")
