"""Settings: a missing or wrong one stops the start with its name."""

import pytest

from chassis import settings
from chassis.settings import SettingError, Settings

WHOLE = {"APP_PORT": "3001", "DAPR_HTTP_PORT": "3501", "APP_API_TOKEN": "in", "DAPR_API_TOKEN": "out"}


def test_the_settings_are_read_from_the_environment() -> None:
    """The app listens on this machine only, unless it is told otherwise."""
    expected = Settings("127.0.0.1", 3001, 3501, app_api_token="in", dapr_api_token="out")

    assert expected == settings.read(WHOLE)


def test_the_app_listens_and_looks_for_its_sidecar_where_it_is_told() -> None:
    """In containers other addresses are needed than on one machine."""
    read = settings.read({**WHOLE, "APP_HOST": "0.0.0.0", "DAPR_HOST": "order-dapr"})

    assert ("127.0.0.1", "127.0.0.1") == (settings.read(WHOLE).app_host, settings.read(WHOLE).dapr_host)
    assert ("0.0.0.0", "order-dapr") == (read.app_host, read.dapr_host)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [None, ""])
def test_a_setting_that_is_missing_or_empty_stops_the_start_by_name(name: str, value: str | None) -> None:
    """No token has a default: an app that forgot it must not be open to strangers."""
    environ = {key: text for key, text in WHOLE.items() if key != name}
    if value is not None:
        environ[name] = value

    with pytest.raises(SettingError, match=f"^setting {name}: ") as stopped:
        settings.read(environ)

    assert isinstance(stopped.value, SystemExit)


@pytest.mark.parametrize("value", ["0", "65536", "-1", "+1", "1.0", "1_0", " 1", "80x", "\u0663", "\u00b2"])
@pytest.mark.parametrize("name", ["APP_PORT", "DAPR_HTTP_PORT"])
def test_a_port_is_a_whole_number_in_plain_digits(name: str, value: str) -> None:
    """Whatever else Python takes for a number is refused, by the setting's name."""
    with pytest.raises(SettingError, match=f"^setting {name}: "):
        settings.read({**WHOLE, name: value})


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("65535", 65535)])
def test_both_bounds_are_allowed(value: str, expected: int) -> None:
    """The first and the last port are ports."""
    assert expected == settings.read({**WHOLE, "APP_PORT": value}).app_port


@pytest.mark.parametrize(("environ", "expected"), [({}, 900), ({"SECONDS": ""}, 900), ({"SECONDS": "60"}, 60)])
def test_a_default_stands_in_for_what_is_missing(environ: dict[str, str], expected: int) -> None:
    """An empty setting is a missing one."""
    assert expected == settings.whole(environ, "SECONDS", 1, 1_000, default=900)


def test_a_default_is_held_to_the_bounds_too() -> None:
    """A wrong default is found at the first start."""
    with pytest.raises(SettingError, match="SECONDS"):
        settings.whole({}, "SECONDS", 1, 10, default=900)


@pytest.mark.parametrize(("name", "value"), [("LOG_FORMAT", "xml"), ("LOG_LEVEL", "INFO"), ("METRICS_PORT", "0")])
def test_a_way_to_be_looked_at_that_is_none_stops_the_start_by_name(name: str, value: str) -> None:
    """Better no start than one whose lines nobody reads."""
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
def test_a_host_is_a_name_or_an_address_of_either_kind(name: str, value: str, expected: str) -> None:
    """An IPv6 address with or without the brackets that it has in a URL."""
    assert expected == getattr(settings.read({**WHOLE, name: value}), name.lower())


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(
    "value", ["[::1", "::1]", "[127.0.0.1]", "[::1]:80", "127.0.0.1:80", "http://x", "a b", "::g", "1::2::3", "[]"]
)
def test_a_host_that_is_none_stops_the_start_by_name(name: str, value: str) -> None:
    """Also one with a port: there is a setting for that."""
    with pytest.raises(SettingError, match=f"^setting {name}: .* is not a host name"):
        settings.read({**WHOLE, name: value})


def test_in_a_url_an_ipv6_address_stands_in_brackets() -> None:
    """Without its zone, which means something on this machine only."""
    assert ["[::1]", "[fe80::1]", "127.0.0.1", "order-dapr"] == [
        settings.in_url(each) for each in ("::1", "fe80::1%eth0", "127.0.0.1", "order-dapr")
    ]


def test_metrics_are_read_nowhere_unless_a_port_is_given() -> None:
    """And then on this machine only."""
    read = settings.read({**WHOLE, "METRICS_PORT": "9100"})

    assert (None, 9100, "127.0.0.1") == (settings.read(WHOLE).metrics_port, read.metrics_port, read.metrics_host)
