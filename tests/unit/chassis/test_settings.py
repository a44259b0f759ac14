"""Settings: a missing or wrong one stops startup with its name."""

import pytest

from sidecart.chassis import settings
from sidecart.chassis.settings import SettingError, Settings

WHOLE = {
    "APP_PORT": "3001",
    "DAPR_HTTP_PORT": "3501",
    "DAPR_GRPC_PORT": "50001",
    "APP_API_TOKEN": "in",
    "DAPR_API_TOKEN": "out",
}


def test_the_settings_are_read_from_the_environment() -> None:
    """By default the app listens on the loopback interface only."""
    expected = Settings("127.0.0.1", 3001, 3501, app_api_token="in", dapr_api_token="out", dapr_grpc_port=50001)

    assert expected == settings.read(WHOLE)


def test_the_hosts_of_the_app_and_its_sidecar_can_be_set() -> None:
    """APP_HOST and DAPR_HOST replace the loopback address, for containers."""
    read = settings.read({**WHOLE, "APP_HOST": "0.0.0.0", "DAPR_HOST": "order-dapr"})

    assert ("127.0.0.1", "127.0.0.1") == (settings.read(WHOLE).app_host, settings.read(WHOLE).dapr_host)
    assert ("0.0.0.0", "order-dapr") == (read.app_host, read.dapr_host)


def test_the_api_of_the_sidecar_can_be_chosen() -> None:
    """With `grpc`, the default, the port of that API is required; `http` reads no such port."""
    assert settings.read({**WHOLE, "SIDECAR_API": "http", "DAPR_GRPC_PORT": "x"}).dapr_grpc_port is None
    for api in ("", "grpc"):
        assert 50001 == settings.read({**WHOLE, "SIDECAR_API": api}).dapr_grpc_port
        with pytest.raises(SettingError, match="DAPR_GRPC_PORT"):
            settings.read({**WHOLE, "SIDECAR_API": api, "DAPR_GRPC_PORT": ""})
    with pytest.raises(SettingError, match="SIDECAR_API"):
        settings.read({**WHOLE, "SIDECAR_API": "udp"})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_setting_stops_startup_by_name(name: str, value: str | None) -> None:
    """Required settings, including tokens, have no default."""
    environ = {key: text for key, text in WHOLE.items() if key != name}
    if value is not None:
        environ[name] = value

    with pytest.raises(SettingError, match=f"^setting {name}: ") as stopped:
        settings.read(environ)

    assert isinstance(stopped.value, SystemExit)


@pytest.mark.parametrize("value", ["0", "65536", "-1", "+1", "1.0", "1_0", " 1", "80x", "\u0663", "\u00b2"])
@pytest.mark.parametrize("name", ["APP_PORT", "DAPR_HTTP_PORT"])
def test_a_port_is_a_whole_number_in_plain_digits(name: str, value: str) -> None:
    """A port must consist of ASCII digits within its bounds."""
    with pytest.raises(SettingError, match=f"^setting {name}: "):
        settings.read({**WHOLE, name: value})


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("65535", 65535)])
def test_both_bounds_are_allowed(value: str, expected: int) -> None:
    """The lowest and the highest port are accepted."""
    assert expected == settings.read({**WHOLE, "APP_PORT": value}).app_port


@pytest.mark.parametrize(("environ", "expected"), [({}, 900), ({"SECONDS": ""}, 900), ({"SECONDS": "60"}, 60)])
def test_a_default_replaces_a_missing_or_empty_setting(environ: dict[str, str], expected: int) -> None:
    """The default applies to a missing and to an empty setting."""
    assert expected == settings.whole(environ, "SECONDS", 1, 1_000, default=900)


def test_a_default_is_checked_against_the_bounds() -> None:
    """A default outside the bounds raises SettingError."""
    with pytest.raises(SettingError, match="SECONDS"):
        settings.whole({}, "SECONDS", 1, 10, default=900)


@pytest.mark.parametrize(("name", "value"), [("LOG_FORMAT", "xml"), ("LOG_LEVEL", "INFO"), ("METRICS_PORT", "0")])
def test_a_wrong_log_or_metrics_setting_stops_startup_by_name(name: str, value: str) -> None:
    """A wrong log or metrics setting raises SettingError with its name."""
    with pytest.raises(SettingError, match=f"^setting {name}: "):
        settings.read({**WHOLE, name: value})


HOSTS = ("APP_HOST", "DAPR_HOST", "METRICS_HOST")


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::", "::"),
        ("0.0.0.0", "0.0.0.0"),
        ("order-dapr", "order-dapr"),
        ("order_dapr.shop.example", "order_dapr.shop.example"),
    ],
)
def test_a_host_is_a_name_or_an_ip_address(name: str, value: str, expected: str) -> None:
    """A host may be a name, an IPv4 address, or an IPv6 address with or without brackets."""
    assert expected == getattr(settings.read({**WHOLE, name: value}), name.lower())


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(
    "value", ["[::1", "::1]", "[127.0.0.1]", "[::1]:80", "127.0.0.1:80", "http://x", "a b", "::g", "1::2::3", "[]"]
)
def test_a_wrong_host_stops_startup_by_name(name: str, value: str) -> None:
    """A malformed host, or one with a port, raises SettingError with its name."""
    with pytest.raises(SettingError, match=f"^setting {name}: .* is not a host name"):
        settings.read({**WHOLE, name: value})


def test_an_ipv6_address_in_a_url_has_brackets() -> None:
    """An IPv6 address in a URL has brackets and no zone, which is valid on one machine only."""
    assert ["[::1]", "[fe80::1]", "127.0.0.1", "order-dapr"] == [
        settings.in_url(each) for each in ("::1", "fe80::1%eth0", "127.0.0.1", "order-dapr")
    ]


def test_metrics_are_off_without_a_port() -> None:
    """Metrics are off by default; with METRICS_PORT they are served on the loopback interface."""
    read = settings.read({**WHOLE, "METRICS_PORT": "9100"})

    assert (None, 9100, "127.0.0.1") == (settings.read(WHOLE).metrics_port, read.metrics_port, read.metrics_host)
