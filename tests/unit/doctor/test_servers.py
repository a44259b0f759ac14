"""Servers of a compose file: safe settings pass in every notation, unsafe ones are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.doctor.rules import judge
from sidecart.doctor.starts import Environment
from sidecart.doctor.targets import named

COMPOSE = """\
services:
  order-dapr:
    image: daprio/daprd:1.18.2
    environment: [DAPR_API_TOKEN=one, APP_API_TOKEN=two]
    command: ["./daprd", "--app-id", "order"]
  server:
    volumes: ["data:/data", "data:/var/lib/rabbitmq"]
"""
NOT_APPEND_ONLY = ["redis-not-append-only"]
NO_HOSTNAME = ["rabbitmq-no-hostname"]


def dangers(folder: Path, server: str) -> list[str]:
    """The rules with danger findings for a compose file with this server."""
    lines = "".join(f"    {line}\n" for line in server.splitlines())
    (folder / "docker-compose.yml").write_text(COMPOSE + lines, encoding="utf-8")
    found = [one for config in named([folder], Environment({})) for one in judge(config)]
    return [one.rule for one in found if one.severity == "danger"]


@pytest.mark.parametrize(
    "server",
    [
        "image: redis/redis-stack-server\nenvironment: {REDIS_ARGS: --appendonly yes}",
        "image: redis/redis-stack-server:7.4.0-v8\nenvironment: ['REDIS_ARGS=--save 60 1 --appendonly yes']",
        "image: redis/redis-stack-server\nenvironment: {REDIS_ARGS: '${REDIS_ARGS:---appendonly yes}'}",
        "image: valkey/valkey:8\nenvironment: {VALKEY_EXTRA_FLAGS: --appendonly yes}",
        'image: redis\nentrypoint: [redis-server, --appendonly, "yes"]',
        "image: redis:7\nentrypoint: redis-server --appendonly yes",
        "image: redis:7\nentrypoint: [redis-server]\ncommand: --appendonly 'yes'",
        "image: redis:7\ncommand: redis-server --appendonly ${APPEND:-yes}",
    ],
)
def test_an_append_only_file_is_recognized_in_every_notation(tmp_path: Path, server: str) -> None:
    """The command, the entrypoint or a variable of the image can enable it."""
    assert [] == dangers(tmp_path, server)


@pytest.mark.parametrize(
    "server",
    [
        "image: redis/redis-stack-server\nenvironment: {REDIS_ARGS: --save 60 1}",
        "image: redis/redis-stack-server",
        "image: redis:7\nenvironment: {REDIS_ARGS: --appendonly yes}",
        'image: redis:7\nentrypoint: [redis-server, --appendonly, "no"]',
        "image: ${IMAGE:-redis:7}",
    ],
)
def test_snapshots_alone_are_reported(tmp_path: Path, server: str) -> None:
    """The image `redis` ignores REDIS_ARGS."""
    assert NOT_APPEND_ONLY == dangers(tmp_path, server)


@pytest.mark.parametrize("output", ["env_file: secret.env", "environment: [REDIS_ARGS]"])
def test_arguments_outside_the_files_are_not_judged(tmp_path: Path, output: str) -> None:
    """They are in a missing file, or in the shell."""
    assert [] == dangers(tmp_path, f"image: redis/redis-stack-server\n{output}")


@pytest.mark.parametrize(
    "output",
    [
        'environment: ["RABBITMQ_NODENAME=rabbit@localhost"]',
        "environment: {RABBITMQ_NODENAME: rabbit@localhost}",
        "environment: [RABBITMQ_NODENAME]",
        "env_file: secret.env",
        "hostname: rabbitmq",
    ],
)
def test_a_named_node_keeps_its_queues(tmp_path: Path, output: str) -> None:
    """Every notation of the name counts, and so does an env_file that is missing here."""
    assert [] == dangers(tmp_path, f"image: rabbitmq:3.13.7\n{output}")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("redis", NOT_APPEND_ONLY),
        ("library/redis:7", NOT_APPEND_ONLY),
        ("docker.io/redis:7", NOT_APPEND_ONLY),
        ("docker.io/library/redis@sha256:0", NOT_APPEND_ONLY),
        ("valkey/valkey:8", NOT_APPEND_ONLY),
        ("docker.io/valkey/valkey", NOT_APPEND_ONLY),
        ("docker.io/redis/redis-stack-server", NOT_APPEND_ONLY),
        ("rabbitmq:3-management", NO_HOSTNAME),
        ("library/rabbitmq", NO_HOSTNAME),
        ("docker.io/library/rabbitmq:4", NO_HOSTNAME),
        ("bitnami/redis:7.2", []),
        ("docker.io/bitnami/valkey", []),
        ("bitnami/rabbitmq", []),
        ("registry.example.com/team/redis", []),
        ("redis-exporter", []),
    ],
)
def test_only_official_images_are_judged(tmp_path: Path, image: str, expected: list[str]) -> None:
    """Other publishers' images have other defaults."""
    assert expected == dangers(tmp_path, f"image: {image}")


def test_a_path_with_a_nul_raises_nothing(tmp_path: Path) -> None:
    """A mount and an env_file that cannot be read produce no finding."""
    server = r"image: redis:7" + "\n" + r'volumes: ["./a\0b.conf:/etc/redis.conf", "data:/data"]' + "\n"

    assert [] == dangers(tmp_path, server + r'env_file: "a\0b"')
