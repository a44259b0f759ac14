"""How the image reaches the nodes, by the context of the kubeconfig."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.kubernetes.image import loader, required_loader
from sidecart.kubernetes.start import image_entry
from sidecart.launcher.errors import LaunchError


@pytest.mark.parametrize(
    ("context", "program", "words"),
    [
        ("kind-trial", "kind", ("load", "docker-image", "--name", "trial")),
        ("k3d-a-b", "k3d", ("image", "import", "--cluster", "a-b")),
        ("minikube", "minikube", ("image", "load")),
    ],
)
def test_a_cluster_on_this_machine_has_a_loader(context: str, program: str, words: tuple[str, ...]) -> None:
    """The context names the tool and its cluster."""
    found = loader(context)

    assert found is not None
    assert (program, words) == (found.program, (*found.image_words, *found.cluster_words))


@pytest.mark.parametrize("context", ["gke_a_b", "kind-", "kind", "minikube-2"])
def test_another_cluster_needs_a_pushed_image(context: str) -> None:
    """The error names both options."""
    assert loader(context) is None
    with pytest.raises(LaunchError, match=r"--image, or give --no-build"):
        required_loader(context)


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is built."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LaunchError, match="kind is not installed"):
        required_loader("kind-trial")


def test_an_image_is_split_into_its_parts() -> None:
    """A registry may have a port."""
    assert {"name": "sidecart-app", "newName": "host:5000/a/b", "newTag": "1.2"} == image_entry("host:5000/a/b:1.2")
    digest = "sha256:" + "0" * 64
    assert {"name": "sidecart-app", "newName": "host/a", "digest": digest} == image_entry(f"host/a@{digest}")


@pytest.mark.parametrize("image", ["name", "host:5000/name", "host/name:latest"])
def test_an_image_without_an_exact_version_is_refused(image: str) -> None:
    """A moving tag would start different versions beside each other."""
    with pytest.raises(LaunchError, match="names no exact version"):
        image_entry(image)
