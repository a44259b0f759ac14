"""kubectl as a program: the only way in which the toolkit reaches a cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecart.launcher.errors import Interrupted, LaunchError

PROGRAM = "KUBECTL"
"""The variable that names the program, if it is not the one on PATH."""
CURRENT = "current"
"""Stands for the current context of the kubeconfig."""
COMMAND_SECONDS_MAX = 300
"""Longer than any wait of a command: a drain or a deletion takes up to two minutes."""
STOPPED = (-signal.SIGINT, -signal.SIGTERM)
"""The codes of a kubectl that a Ctrl-C has ended with this process."""
OUTPUT_MAX, ERRORS_MAX = 2_000, 4_000
"""How many characters of a failed command's output its error repeats, from the end."""


class KubectlError(LaunchError, RuntimeError):
    """A failed command, with what kubectl wrote; a RuntimeError as of any other failed program."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl; a failed command raises KubectlError with its output."""

    program: Path
    kubeconfig: Path | None = None
    """None: kubectl searches it itself, by KUBECONFIG or in the home folder."""
    namespace: str = ""
    context: str = ""

    def __call__(self, *words: str, stdin: str = "") -> str:
        """Run a command, and return its output."""
        name = f"kubectl {' '.join(words)}"
        try:
            done = subprocess.run(
                self.command(*words),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS_MAX,
                check=False,
            )
        except OSError as error:
            raise KubectlError(f"{self.program} cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"{name}: no end within {COMMAND_SECONDS_MAX} s") from error
        if done.returncode in STOPPED:
            raise Interrupted
        if done.returncode != 0:
            raise KubectlError(f"{name}: {done.stdout[-OUTPUT_MAX:]}{done.stderr[-ERRORS_MAX:]}".strip())
        return done.stdout

    def command(self, *words: str) -> list[str]:
        """Return the words of a command, such as one that runs on."""
        kubeconfig = [] if self.kubeconfig is None else ["--kubeconfig", str(self.kubeconfig)]
        context = ["--context", self.context] if self.context else []
        namespace = ["-n", self.namespace] if self.namespace else []
        return [str(self.program), *kubeconfig, *context, *namespace, *words]

    def within(self, namespace: str) -> Kubectl:
        """Return the same for one namespace."""
        return replace(self, namespace=namespace)

    def apply(self, text: str, *words: str) -> str:
        """Apply manifests."""
        return self("apply", "-f", "-", *words, stdin=text)

    def get(self, *words: str) -> dict[str, Any]:
        """Return an object or a list of objects."""
        return dict(json.loads(self("get", "-o", "json", *words)))


def find(context: str) -> Kubectl:
    """Return kubectl for a context of the kubeconfig, or for the current one.

    Raise LaunchError, which says what to do, without the program or without the context.
    """
    kubectl = Kubectl(program())
    known = kubectl("config", "get-contexts", "-o", "name").split()
    if context == CURRENT:
        return replace(kubectl, context=_current(kubectl, known))
    if context not in known:
        raise LaunchError(f"the kubeconfig has no context {context}: {_choice(known)}")
    return replace(kubectl, context=context)


def server_of(kubectl: Kubectl) -> str:
    """Return the address of the API server; empty if the kubeconfig has none."""
    found = json.loads(kubectl("config", "view", "--minify", "-o", "json"))
    clusters = found.get("clusters") or [{}]
    return str(clusters[0].get("cluster", {}).get("server", ""))


def program() -> Path:
    """Return the program; raise LaunchError without one."""
    named = os.environ.get(PROGRAM)
    found = shutil.which(named or "kubectl")
    if found is None:
        missing = f"{PROGRAM}={named} is no program" if named else "kubectl is not installed"
        raise LaunchError(f"{missing}: install it (https://kubernetes.io/docs/tasks/tools), version 1.27 or newer")
    return Path(found)


def _current(kubectl: Kubectl, known: list[str]) -> str:
    try:
        return kubectl("config", "current-context").strip()
    except KubectlError as error:
        raise LaunchError(f"the kubeconfig has no current context: {_choice(known)}") from error


def _choice(known: list[str]) -> str:
    return f"choose from {', '.join(known)}" if known else "it has none; create a cluster first, such as with kind"
