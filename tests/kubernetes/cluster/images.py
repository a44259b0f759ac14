"""The images that the cluster runs, under their real names, as archives for containerd.

They are made with podman, like those for the tests of the compose file, because no registry is
needed for that: programs that are built here, substitutes for the servers, and the project's own
image from its Dockerfile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from sidecart.kubernetes import names
from sidecart.launcher import daprd, sentry
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from tests.compose import images as substitutes
from tests.compose.engine import Engine
from tests.compose.stack import FOLDER
from tests.kubernetes.cluster import programs, versions

Report = Callable[[str], None]
REGISTRY = "docker.io/library"
PAUSE = f"registry.k8s.io/pause:{versions.PAUSE}"
COREDNS = f"registry.k8s.io/coredns/coredns:v{versions.COREDNS}"
DAPR = "ghcr.io/dapr"
USER = "65532:65532"


def archives(engine: Engine, cache: Path, servers: set[str], report: Report, deadline: Deadline) -> dict[str, Path]:
    """Return an archive for each image by its full name; create those that are missing or old."""
    for name, program in _programs(report, deadline).items():
        substitutes.import_program(engine, name, program, (f"USER {USER}", f'ENTRYPOINT ["/{program.name}"]'))
    dockerfile = (FOLDER / "Dockerfile").read_text("utf-8")
    wanted = servers | substitutes.images_of(dockerfile, {})
    substitutes.make(engine, cache, wanted, report)
    report(f"building {names.app_image()} from its Dockerfile")
    engine.podman(
        *("build", "--pull=never", "--isolation=chroot", "-q", "-t", names.app_image()),
        *("-f", str(FOLDER / "Dockerfile"), str(root())),
    )
    every = {PAUSE, COREDNS, *_programs(report, deadline), *servers, names.app_image()}
    return {_full(name): _archive(engine, cache, name, report) for name in sorted(every)}


def _programs(report: Report, deadline: Deadline) -> Mapping[str, Path]:
    dapr = {
        "daprd": daprd.find(report, deadline).path,
        "sentry": sentry.find(report, deadline),
        "operator": programs.OPERATOR.cached(report, deadline),
        "injector": programs.INJECTOR.cached(report, deadline),
    }
    return {
        PAUSE: programs.PAUSE.find(report, deadline),
        COREDNS: programs.COREDNS.find(report, deadline),
        **{f"{DAPR}/{name}:{versions.DAPR}": path for name, path in dapr.items()},
    }


def _full(name: str) -> str:
    return name if "/" in name else f"{REGISTRY}/{name}"


def _archive(engine: Engine, cache: Path, name: str, report: Report) -> Path:
    folder = cache / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    identity = str(json.loads(engine.podman("image", "inspect", name))[0]["Id"])
    slug = name.replace("/", "_").replace(":", "_")
    file = folder / f"{slug}-{identity[:16]}.tar"
    if not file.exists():
        report(f"saving {name}")
        for old in folder.glob(f"{slug}-*.tar"):
            old.unlink()
        half = folder / f"{slug}.half"
        half.unlink(missing_ok=True)
        engine.podman("save", "--format", "oci-archive", "-o", str(half), name)
        half.rename(file)
    return file
