"""The images that the cluster runs, under their real names, as archives for containerd.

They are made with podman, like those for the tests of the compose file, because no registry is
needed for that: programs that are built here, substitutes for the servers, and the project's own
image from its Dockerfile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
KEDA, KEDA_ADAPTER = (f"ghcr.io/kedacore/{each}:{versions.KEDA}" for each in ("keda", "keda-metrics-apiserver"))
USER = "65532:65532"
NEXT_IMAGE = f"{names.app_image()}-next"
"""The same program as another image, for a rolling upgrade."""


def archives_of_control_plane(
    engine: Engine, cache: Path, report: Report, deadline: Deadline, *, is_full: bool
) -> dict[str, Path]:
    """Return an archive for each image by its full name; create those that are missing or old.

    `is_full` adds KEDA, which only FULL=1 needs.
    """
    own = _programs(report, deadline) | (_autoscaler(report, deadline) if is_full else {})
    for name, program in own.items():
        substitutes.import_program(engine, name, program, (f"USER {USER}", f'ENTRYPOINT ["/{program.name}"]'))
    return {name: _archive(engine, cache, name, report) for name in sorted(own)}


def archives_of_system(
    engine: Engine, cache: Path, servers: set[str], report: Report, *, is_full: bool
) -> dict[str, Path]:
    """Return an archive for each image of the servers and the apps by its full name.

    `is_full` adds the next version of the apps, which only FULL=1 needs.
    """
    dockerfile = (FOLDER / "Dockerfile").read_text("utf-8")
    wanted = servers | substitutes.images_of(dockerfile, {})
    substitutes.make(engine, cache, wanted, report)
    tags = {names.app_image(): (), **({NEXT_IMAGE: ("--label", "next=true")} if is_full else {})}
    for tag, words in tags.items():
        report(f"building {tag} from its Dockerfile")
        engine.podman(
            *("build", "--pull=never", "--isolation=chroot", "-q", "-t", tag, *words),
            *("-f", str(FOLDER / "Dockerfile"), str(root())),
        )
    return {_full(name): _archive(engine, cache, name, report) for name in sorted({*servers, *tags})}


def _programs(report: Report, deadline: Deadline) -> dict[str, Path]:
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


def _autoscaler(report: Report, deadline: Deadline) -> dict[str, Path]:
    return {
        KEDA: programs.KEDA.find(report, deadline),
        KEDA_ADAPTER: programs.KEDA_ADAPTER.find(report, deadline),
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
