"""Every setting in docs/reference/settings.md reaches its apps, or is refused by name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecart.cli.__main__ import main
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle import settings
from sidecart.launcher.lifecycle.environments import app_environment, monitor_environment, trimmer_environment
from sidecart.launcher.lifecycle.plan import choose_ports, plan_of
from sidecart.launcher.lifecycle.settings import (
    SET_BY_LAUNCHER,
    environment_of,
    external_servers,
    settings_from_environment,
)
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.project import root
from sidecart.launcher.servers.addresses import host_and_port, without_password
from sidecart.launcher.topics import app_ids

ROW = re.compile(r"^\| (`[A-Z_`, ]+`)[^|]*\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
OF = {
    "all": app_ids(),
    "the live page": ("monitor",),
    "the trimmer": (TRIMMER,),
    **{app_id: (app_id,) for app_id in app_ids()},
}
SAMPLES: Mapping[str, str] = {
    "SMTP_URL": "smtp://ann:secret@[::1]:2525",
    "MAIL_FROM": "me@my.shop",
    "MAIL_TLS": "opportunistic",
    "MAIL_CA_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "STREAM_RETENTION_SECONDS": "60",
    "SIDECAR_API": "http",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "debug",
    "CURRENCY": "JPY",
    "AUTH": "off",
    "OIDC_ISSUER": "https://issuer.example/realm",
    "OIDC_AUDIENCE": "the-shop",
    "OIDC_JWKS": "https://issuer.example/keys",
    "OIDC_ROLES_CLAIM": "realm_access.roles",
    "PRICE_LIST": str(root() / "tests/unit/launcher/lifecycle/prices.json"),
    "ALLOWED_HOSTS": "shop.example",
    "TRUSTED_PROXIES": "10.0.0.7",
    "CORS_ORIGINS": "https://shop.example",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:4318",
}
"""Values that differ from the default; every other setting takes a number."""
WITH: Mapping[str, Mapping[str, str]] = {
    name: {"OIDC_ISSUER": "https://issuer.example/realm"} for name in ("OIDC_AUDIENCE", "OIDC_JWKS", "OIDC_ROLES_CLAIM")
}
"""Settings that matter with another one only."""
WRONG = {
    "AUTH",
    "OIDC_ISSUER",
    "PRICE_LIST",
    "REQUESTS_PER_CALLER",
    "REQUESTS_PER_ADDRESS",
    "HELD_PER_CALLER",
    "CURRENCY",
    "SIDECAR_API",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "SMTP_URL",
    "MAIL_RETRY_SECONDS",
    "MAIL_UNKNOWN_SECONDS",
    "MAILS_PER_HOUR",
    "MAIL_TLS",
    "MAIL_CA_FILE",
    "PAY_WITHIN_SECONDS",
    "STREAM_RETENTION_SECONDS",
    "DRAIN_SECONDS",
    "ALLOWED_HOSTS",
    "CORS_ORIGINS",
    "CONNECTIONS_MAX",
    "CONNECTIONS_PER_ADDRESS_MAX",
    "TRUSTED_PROXIES",
}
"""Settings that reject some values."""


def table() -> dict[str, tuple[str, ...]]:
    """Read the table of the settings: maps each setting to the apps that read it."""
    page = (root() / "docs/reference/settings.md").read_text(encoding="utf-8")
    rows = ROW.findall(page[page.index("| setting | read by | default |") :])
    readers = {names: tuple(app for each in of.split(",") for app in OF[each.strip()]) for names, of, _ in rows}
    return {name: apps for names, apps in readers.items() for name in re.findall(r"`([A-Z_]+)`", names)}


TABLE = table()


def test_the_table_is_read() -> None:
    """The test reads a nonempty table; an empty one would pass all tests below."""
    assert {"APP_PORT", "SMTP_URL", "MAIL_FROM", "PAY_WITHIN_SECONDS", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= set(TABLE)
    assert 15 <= len(TABLE)


def state_with(folder: Path, environ: Mapping[str, str], monitor: bool = False) -> State:
    """A system with chosen ports that has started nothing."""
    state = State(
        plan_of(Options("redis", folder=folder, settings=settings_from_environment(environ), monitor=monitor))
    )
    state.ports |= choose_ports(state.plan)
    return state


@pytest.mark.parametrize("name", [each for each in TABLE if each not in SET_BY_LAUNCHER])
def test_a_setting_of_the_table_reaches_the_apps_that_read_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value overrides the launcher's and dapr.yaml's, and other apps do not receive it."""
    value = SAMPLES.get(name, "7")
    for each, other in {**WITH.get(name, {}), name: value}.items():
        monkeypatch.setenv(each, other)
    state = state_with(tmp_path, os.environ, monitor=True)

    environments = {each: app_environment(state, Wiring(), each) for each in state.plan.replicas} | {
        "monitor": monitor_environment(state),
        TRIMMER: trimmer_environment(state),
    }
    assert {value} == {environments[app_id].get(name) for app_id in TABLE[name]}
    if name not in ("LOG_FORMAT", "LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert set(TABLE[name]) == {app_id for app_id, env in environments.items() if env.get(name) == value}


@pytest.mark.parametrize("name", sorted(TABLE.keys() & SET_BY_LAUNCHER.keys()))
@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_setting_that_the_launcher_decides_is_refused_by_name(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints one line, exits with 1, and starts nothing."""
    monkeypatch.setenv(name, "7")

    assert 1 == main([command])
    out, err = capsys.readouterr()
    assert "" == out
    assert (
        f"sidecart: {name} is set in the environment, but the launcher decides it: {SET_BY_LAUNCHER[name]}. Unset it\n"
        == err
    )


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_value_is_refused_before_anything_starts(name: str, tmp_path: Path) -> None:
    """The error names the setting; there is no process and no folder."""
    system = System(Options("redis", folder=tmp_path, settings={name: "-1"}), print)

    with pytest.raises(LaunchError, match=f"setting {name}: "):
        system.start()

    assert not system.started
    assert [] == list(tmp_path.iterdir())


def test_an_environment_setting_never_overrides_the_launcher(tmp_path: Path) -> None:
    """The live page and the launcher both read BROKER, but --broker has precedence."""
    state = state_with(tmp_path, {"BROKER": "rabbitmq", "MAIL_URL": "http://elsewhere"}, monitor=True)

    env = monitor_environment(state)
    assert ("redis", state.mail_url) == (env["BROKER"], env["MAIL_URL"])
    assert {"A": "decided", "LOG_LEVEL": "info"} == environment_of_user(
        {"A": "decided", "LOG_LEVEL": "info"}, {"A": "configured", "LOG_LEVEL": "debug"}
    )


def environment_of_user(decided: Mapping[str, str], configured: Mapping[str, str]) -> dict[str, str]:
    """The User Service's environment without the settings of every app."""
    ports = dict.fromkeys(("APP_PORT", "DAPR_HTTP_PORT", "DAPR_GRPC_PORT"), "1")
    required = {**ports, "APP_API_TOKEN": "in", "DAPR_API_TOKEN": "out"}
    env = environment_of("user", {**required, **decided}, configured)
    return {name: value for name, value in env.items() if name not in required}


def test_with_a_mail_server_there_is_no_mail_catcher(tmp_path: Path) -> None:
    """There is no mail URL, and the mail server is shown without its password."""
    state = state_with(tmp_path, {"SMTP_URL": SAMPLES["SMTP_URL"]}, monitor=True)

    assert [] == [name for name in state.ports if name.startswith("mail")]
    assert ("", "smtp://[::1]:2525") == (state.mail_url, state.mails_at)
    assert "" == monitor_environment(state)["MAIL_URL"]


def test_the_demo_refuses_another_mail_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo cannot pass with another mail server, and reports that at once."""
    monkeypatch.setenv("SMTP_URL", "smtp://my.server")

    assert 1 == main(["demo"])
    assert "SMTP_URL is set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "expected"),
    [("localhost:6379", ("localhost", 6379)), ("[::1]:6379", ("::1", 6379)), ("10.0.0.1:1", ("10.0.0.1", 1))],
)
def test_host_and_port_are_split(address: str, expected: tuple[str, int]) -> None:
    """The brackets of an IPv6 address belong to the notation."""
    assert expected == host_and_port("REDIS_HOST", address)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("REDIS_HOST", each)
            for each in ("::1", "::1:6379", "[::1]", "[x]:1", "host", "host:", ":1", "a/b:1", "h:0")
        ),
        *(("AMQP_URL", each) for each in ("amqp://::1:5672", "amqp://[::1:5672", "host:5672", "amqp://h:x")),
        *(("POSTGRES_URL", each) for each in ("postgres://::1:5432/db", "mysql://host/db", "postgres://[::g]/db")),
    ],
)
def test_a_malformed_address_is_refused_by_name(name: str, value: str) -> None:
    """The error shows the expected form."""
    with pytest.raises(LaunchError, match=rf"^{name}.*needs brackets"):
        external_servers({name: value})


def test_a_database_may_use_any_form_of_its_library() -> None:
    """PostgreSQL allows keywords, a socket's folder, and several hosts."""
    for value in (
        "host=db user=x",
        "postgresql:///shop?host=/run",
        "postgres://a:1,b:2/shop",
        "postgres://[::1]:5432/x",
    ):
        assert {"POSTGRES_URL": value} == external_servers({"POSTGRES_URL": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOMAXPROCS", "x"),
        ("GOGC", "off"),
        ("VALKEY_MEMORY_MB", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "[::1]:4318"),
    ],
)
def test_settings_of_sidecars_are_checked_too(name: str, value: str) -> None:
    """Sidecars would ignore a wrong value, or exit because of it."""
    with pytest.raises(LaunchError, match=name):
        settings_from_environment({name: value})


def test_an_empty_setting_is_unset() -> None:
    """An empty value counts as unset."""
    assert {} == settings_from_environment({"APP_PORT": "", "SMTP_URL": ""})
    assert {} == external_servers({"REDIS_HOST": ""})
    assert "amqp://h:1" == without_password("amqp://u:p@h:1")


def test_the_settings_of_an_app_are_read_by_its_own_module() -> None:
    """The launcher finds `settings.read` beside the module that dapr.yaml starts."""
    common = "sidecart.chassis.settings"
    expected = {
        "gateway": [common, "sidecart.edge.settings"],
        "user": [common],
        "billing": [common],
        "order": [common, "services.order.settings"],
        "notification": [common, "services.notification.settings"],
        "monitor": ["sidecart.launcher.monitor", "sidecart.chassis.currency", "sidecart.edge.settings"],
    }

    assert expected == {name: [each.__module__ for each in settings.readers_of(name)] for name in expected}
    assert set(expected) <= {*app_ids(), "monitor"}


def test_a_program_without_modules_has_the_settings_of_the_chassis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that the project does not contain as a module reads no settings that we know."""
    for module in ("", "app", "nowhere.app", "services.nowhere.app"):
        monkeypatch.setattr(settings, "module_of", lambda _, module=module: module)
        settings.readers_of.cache_clear()

        assert 1 == len(settings.readers_of("user"))
    settings.readers_of.cache_clear()
