"""Substitutes for images that cannot be pulled here, under the real names: Debian's packages, and
Dapr's programs.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from sidecart.launcher import daprd, sentry
from sidecart.launcher.dapr_release import VERSION
from sidecart.launcher.deadline import Deadline
from tests.compose.engine import Engine

PACKAGES = ("ca-certificates", "haproxy", "postgresql", "python3", "python3-venv", "rabbitmq-server", "redis-server")
# the package's own scripts; the wrappers on PATH change to another user and hang
SERVER_SCRIPTS = "/usr/lib/rabbitmq/bin"
ENTRYPOINT = """\
#!/bin/sh
# The official ones also change to the server's own login.
[ "${1-}" != postgres ] || exec postgres-entrypoint.sh "$@"
exec "$@"
"""
POSTGRES_ENTRYPOINT = Path(__file__).with_name("postgres-entrypoint.sh").read_text(encoding="utf-8")
UID = 999
"""The login of the servers in the official images; Debian's packages choose other numbers."""
PREPARE = f"""\
set -e
groupmod -g {UID} postgres
usermod -u {UID} -g {UID} postgres
rm -rf /var/lib/postgresql/* /etc/postgresql/*
install -d -o {UID} -g {UID} -m 1777 /var/lib/postgresql/data /data
install -d -o {UID} -g {UID} -m 3777 /var/run/postgresql
install -d /docker-entrypoint-initdb.d /usr/local/etc/haproxy
chown -R {UID}:{UID} /var/lib/rabbitmq /var/log/rabbitmq
chmod 777 /var/lib/rabbitmq /var/log/rabbitmq
# Debian's own commands choose a cluster of the machine.
ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
echo "listen_addresses = '*'" >>"$(ls /usr/share/postgresql/*/postgresql.conf.sample)"
"""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CHANGES = {
    "python": (),
    "redis": ('CMD ["redis-server"]', "VOLUME /data", "WORKDIR /data"),
    "rabbitmq": (
        'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]',
        'CMD ["rabbitmq-server"]',
        f"ENV PATH={SERVER_SCRIPTS}:/usr/local/bin:/usr/bin:/bin",
        "ENV HOME=/var/lib/rabbitmq",
        "ENV RABBITMQ_LOGS=-",
    ),
    "postgres": (
        'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]',
        'CMD ["postgres"]',
        "ENV PATH=/usr/local/bin:/usr/bin:/bin",
        "ENV PGDATA=/var/lib/postgresql/data",
        "STOPSIGNAL SIGINT",
        "VOLUME /var/lib/postgresql/data",
    ),
    "haproxy": (
        'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]',
        'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]',
        "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "USER 99:99",
    ),
}
"""The `podman import` changes of each image, by the first word of its name."""
ROOT_PARTS = (*PACKAGES, ENTRYPOINT, POSTGRES_ENTRYPOINT, PREPARE)
"""Everything that the Debian root is made of; a change of one makes a new root."""


def make(engine: Engine, cache: Path, expected: set[str], report: Callable[[str], None]) -> None:
    """Create the missing substitutes; `expected` holds the image names in the Dockerfile and the
    compose file.
    """
    for name in sorted(expected):
        if name.startswith("daprio/"):
            _import_dapr(engine, name, report)
        else:
            _import_root(engine, name, cache, report)


def images_of(dockerfile: str, services: dict[str, dict[str, object]]) -> set[str]:
    """Return the images that a user's engine would pull."""
    bases = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    built = {service["image"] for service in services.values() if "build" in service}
    return bases | {str(service["image"]) for service in services.values()} - built


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _is_there(engine: Engine, name: str, key: str) -> bool:
    label = '{{index .Config.Labels "made-of"}}'
    return engine.succeeds("image", "exists", name) and engine.podman("inspect", "-f", label, name).strip() == key


def _import(engine: Engine, tree: Path, name: str, key: str, changes: tuple[str, ...]) -> None:
    words = [word for change in (*changes, f"LABEL made-of={key}") for word in ("--change", change)]
    with tempfile.NamedTemporaryFile(suffix=".tar", dir=tree.parent) as packed:
        with tarfile.open(packed.name, "w") as archive:
            archive.add(tree, ".")
        engine.podman("import", "-q", *words, packed.name, name)


def _import_dapr(engine: Engine, name: str, report: Callable[[str], None]) -> None:
    title, _, version = name.removeprefix("daprio/").partition(":")
    programs = {
        "daprd": lambda: daprd.find(report, Deadline()).path,
        "sentry": lambda: sentry.find(report, Deadline()),
    }
    assert version == VERSION, f"{name} is not of version {VERSION}"
    import_program(engine, name, programs[title](), ("USER 65532:65532", "WORKDIR /"))


def import_program(engine: Engine, name: str, program: Path, changes: tuple[str, ...]) -> None:
    """Create the image of one program without anything beside it."""
    status = program.stat()
    key = _key(str(program), str(status.st_size), str(status.st_mtime_ns), *changes)
    if _is_there(engine, name, key):
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        (tree / "tmp").mkdir()
        (tree / "tmp").chmod(0o1777)
        shutil.copy(program, tree / program.name)
        (tree / program.name).chmod(0o755)
        _import(engine, tree, name, key, changes)


def _import_root(engine: Engine, name: str, cache: Path, report: Callable[[str], None]) -> None:
    changes = CHANGES[name.partition(":")[0]]
    key = _key(*ROOT_PARTS, *changes)
    if not _is_there(engine, name, key):
        _import(engine, _root(cache, report), name, key, changes)


def _root(cache: Path, report: Callable[[str], None]) -> Path:
    """Return a Debian root with the contents of all substitutes; the first call creates it."""
    root = cache / f"root-{_key(*ROOT_PARTS)}"
    if root.exists():
        return root
    report(f"creating a Debian root with {', '.join(PACKAGES)}: a minute, once")
    site, release = _mirror()
    half = cache / "root.half"
    shutil.rmtree(half, ignore_errors=True)
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, str(half), site]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    shutil.rmtree(half / "var" / "cache" / "apt", ignore_errors=True)
    shutil.rmtree(half / "var" / "lib" / "apt" / "lists", ignore_errors=True)
    local = half / "usr" / "local" / "bin"
    (local / "python").symlink_to("/usr/bin/python3")
    for name, text in {"docker-entrypoint.sh": ENTRYPOINT, "postgres-entrypoint.sh": POSTGRES_ENTRYPOINT}.items():
        (local / name).write_text(text, encoding="utf-8")
        (local / name).chmod(0o755)
    done = subprocess.run(["chroot", str(half), "sh", "-c", PREPARE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Builds reach the package registry as this machine does, so they need its trusted certificates.
    shutil.copy(CERTIFICATES, half / CERTIFICATES.relative_to("/"))
    (half / "etc" / "pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}\n", encoding="utf-8")
    half.rename(root)
    return root


def _mirror() -> tuple[str, str]:
    """Return the package source of this machine, and its release."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(SUITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    codename = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text("utf-8"), re.MULTILINE)
    assert codename is not None, "/etc/os-release has no VERSION_CODENAME"
    sites = [line.split()[0] for line in answer.stdout.splitlines() if codename[1] in line.split()[1:]]
    assert sites, f"no package source of {codename[1]} in: {answer.stdout}"
    return sites[0], codename[1]
