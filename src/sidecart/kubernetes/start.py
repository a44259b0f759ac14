"""Starts the system on a cluster: namespace, Secrets, overlay, and the wait for every workload."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecart.kubernetes import diagnosis, names, states
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.kubernetes.kustomizations import API, OVERLAYS
from sidecart.kubernetes.secrets import secrets_text
from sidecart.kubernetes.states import WorkloadState
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.private_files import keep_private
from sidecart.launcher.project import home, root

Report = Callable[[str], None]
READY_SECONDS = 300
"""Three servers pull their images, then services wait for the broker."""
BROKEN_SECONDS = 45
"""How long a pod may have a problem that time alone does not end, such as a missing image.

A registry may refuse one pull, and a Secret may be applied a moment later.
"""
POLL_SECONDS = 1.0
APPLIED = ("created", "configured", "unchanged")


@dataclass(frozen=True, slots=True)
class Start:
    """One start: the manifests to apply, and the cluster."""

    kubectl: Kubectl
    """For no namespace."""
    overlay: str
    folder: Path
    """The kustomization to apply: the overlay, or one that includes it."""
    image: str
    """The image of the apps, if it is another one than the manifests name."""
    report: Report
    deadline: Deadline

    def apply(self) -> None:
        """Apply the namespace, the Secrets and the kustomization."""
        self.report("applying the namespace, the Secrets and the manifests")
        self.kubectl("apply", "-f", str(root() / names.FOLDER / "base" / "namespace.yaml"))
        secrets = self.kubectl.apply(secrets_text(self.overlay))
        manifests = self.kubectl("apply", "-k", str(self._kustomization()))
        for what, text in (("Secrets", secrets), ("manifests", manifests)):
            lines = text.splitlines()
            counts = {word: sum(line.endswith(f" {word}") for line in lines) for word in APPLIED}
            self.report(f"  {what}: {', '.join(f'{number} {word}' for word, number in counts.items() if number)}")

    def _kustomization(self) -> Path:
        """Return the folder to apply; with another image, one around it."""
        if not self.image:
            return self.folder
        keep_private(home())
        around = home() / "kubernetes" / "image"
        around.mkdir(parents=True, exist_ok=True)
        content = {
            "apiVersion": API,
            "kind": "Kustomization",
            "resources": [os.path.relpath(self.folder.resolve(), around.resolve())],
            "images": [image_entry(self.image)],
        }
        (around / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")
        return around

    def wait(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every workload is ready, with a line for each change.

        Raise LaunchError, which says why the others are not ready, after the time or as soon as a
        pod cannot start.
        """
        inside = self.kubectl.within(names.NAMESPACE)
        started = time.monotonic()
        broken_since: dict[str, float] = {}
        shown: dict[str, str] = {}
        while True:
            now = time.monotonic() - started
            found = states.read(inside)
            for each in found:
                if shown.get(each.name) != each.state:
                    shown[each.name] = each.state
                    self.report(f"  {now:5.1f} s  {each.name:14} {each.state}")
            unready = [each for each in found if not each.is_ready]
            if found and not unready:
                return
            broken = {pod.name for each in unready for pod in each.pods if pod.is_broken}
            broken_since = {name: broken_since.get(name, now) for name in broken}
            if now > seconds or any(now - since > BROKEN_SECONDS for since in broken_since.values()):
                raise LaunchError("\n".join(self._failure(inside, unready, now)))
            self.deadline.pause(POLL_SECONDS)

    def _failure(self, inside: Kubectl, unready: Sequence[WorkloadState], seconds: float) -> Iterator[str]:
        yield f"not ready after {seconds:.0f} s: {', '.join(each.name for each in unready) or 'no workload exists'}"
        for each in unready:
            yield from diagnosis.explain(inside, each)
        yield "the namespace is left as it is: `sidecart kubernetes down` removes it"


def overlay_folder(overlay: str) -> Path:
    """Return the folder of an overlay; raise LaunchError for one with placeholders."""
    if not OVERLAYS[overlay].is_trial:
        raise LaunchError(
            f"the overlay {overlay} has placeholders: write a kustomization around it, and give --kustomization FOLDER "
            "(docs/how-to/kubernetes.md)"
        )
    return root() / names.FOLDER / "overlays" / overlay


def image_entry(image: str) -> dict[str, str]:
    """Return the entry of a kustomization that replaces the image of the apps.

    Raise LaunchError for an image without an exact version.
    """
    if "@" in image:
        name, _, digest = image.partition("@")
        return {"name": names.APP_IMAGE, "newName": name, "digest": digest}
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag or tag == "latest":
        raise LaunchError(f"--image {image} names no exact version: give REGISTRY/NAME:TAG, or REGISTRY/NAME@DIGEST")
    return {"name": names.APP_IMAGE, "newName": name, "newTag": tag}


def remove(kubectl: Kubectl, seconds: int) -> bool:
    """Delete the namespace with all in it; return whether it existed."""
    if not exists(kubectl):
        return False
    kubectl("delete", "namespace", names.NAMESPACE, f"--timeout={seconds}s")
    return True


def exists(kubectl: Kubectl) -> bool:
    """Whether the namespace of the system exists."""
    return bool(kubectl("get", "namespace", names.NAMESPACE, "--ignore-not-found", "-o", "name").strip())
