"""Folders of manifests as kustomize renders them; kubectl does this without a cluster."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from sidecart.kubernetes import names
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from tests.kubernetes.cluster import programs

CHANGED = ("components", names.FOLDER.partition("/")[0])
Objects = tuple[dict[str, Any], ...]


def overlay_folder(overlay: str, project: Path | None = None) -> Path:
    """Return the folder of an overlay, in this project or in a copy of it."""
    return (project or root()) / names.FOLDER / "overlays" / overlay


def text(folder: Path) -> str:
    """Return the objects of a folder as one text."""
    kubectl = programs.KUBECTL.find(print, Deadline())
    made = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert 0 == made.returncode, made.stderr
    return made.stdout


def objects(folder: Path) -> Objects:
    """Return the objects of a folder."""
    return tuple(yaml.load_all(text(folder), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def copied(folder: Path) -> Path:
    """Copy the manifests and their sources in components/, and link all else; return the folder.

    It is a project in which a test can change a file.
    """
    for each in root().iterdir():
        if each.name in CHANGED:
            shutil.copytree(each, folder / each.name)
        elif not each.name.startswith("."):
            (folder / each.name).symlink_to(each)
    return folder


def with_options(project: Path, overlay: str, *options: str) -> Path:
    """Write a kustomization of an overlay with options, as a user would; return its folder."""
    own = project / "own"
    own.mkdir(exist_ok=True)
    manifests = f"../{names.FOLDER}"
    document = {
        "resources": [f"{manifests}/overlays/{overlay}"],
        "components": [f"{manifests}/options/{each}" for each in options],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return own
