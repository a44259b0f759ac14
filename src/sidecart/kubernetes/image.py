"""The image of the apps: built from the Dockerfile, and loaded into a cluster on this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecart.kubernetes import names
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

DOCKERFILE = "tye-or-compose/Dockerfile"
ENGINES = ("docker", "podman")
LIBRARY = "docker.io/library"
"""The registry of a short name. podman would call the image localhost/ otherwise."""
REMEDY = "push the image and name it with --image, or give --no-build if the nodes have it"


@dataclass(frozen=True, slots=True)
class Loader:
    """The program that loads an image into the nodes of a cluster on this machine."""

    program: str
    image_words: tuple[str, ...]
    """Loads an image of Docker: its name follows."""
    archive_words: tuple[str, ...]
    """Loads an archive: its file follows."""
    cluster_words: tuple[str, ...]


def loader(context: str) -> Loader | None:
    """Return the loader for a context; None for a cluster that is not on this machine."""
    kind, _, name = context.partition("-")
    if kind == "kind" and name:
        return Loader("kind", ("load", "docker-image"), ("load", "image-archive"), ("--name", name))
    if kind == "k3d" and name:
        return Loader("k3d", ("image", "import"), ("image", "import"), ("--cluster", name))
    if context == "minikube":
        return Loader("minikube", ("image", "load"), ("image", "load"), ())
    return None


def required_loader(context: str) -> Loader:
    """Return the loader for a context; raise LaunchError without it, or without its program."""
    found = loader(context)
    if found is None:
        raise LaunchError(f"the cluster {context} is none of kind, k3d and minikube, so no image is loaded: {REMEDY}")
    if shutil.which(found.program) is None:
        raise LaunchError(f"{found.program} is not installed, which loads images into {context}: {REMEDY}")
    engine()
    return found


def engine() -> str:
    """Return the program that builds images; raise LaunchError without one."""
    for each in ENGINES:
        if shutil.which(each):
            return each
    raise LaunchError(f"neither {' nor '.join(ENGINES)} is installed, which build the image: {REMEDY}")


def build_and_load(found: Loader, report: Callable[[str], None]) -> None:
    """Build the image, and load it into the nodes; raise LaunchError if a program fails."""
    program = engine()
    name = names.app_image() if program == "docker" else f"{LIBRARY}/{names.app_image()}"
    report(f"building {name} with {program}")
    _run([program, "build", "-f", str(root() / DOCKERFILE), "-t", name, str(root())])
    report(f"loading {name} with {found.program}")
    if program == "docker":
        _run([found.program, *found.image_words, name, *found.cluster_words])
        return
    with tempfile.TemporaryDirectory(prefix="sidecart-image-") as folder:
        archive = str(Path(folder) / "image.tar")
        _run([program, "save", "-o", archive, name])
        _run([found.program, *found.archive_words, archive, *found.cluster_words])


def _run(command: Sequence[str]) -> None:
    """Run a program with its output on this terminal."""
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        raise LaunchError(f"{' '.join(command[:3])} ended with {code}: see its output above; or {REMEDY}")
