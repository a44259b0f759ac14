"""Parses server addresses: host:port or a URL, with an IPv6 address in brackets.

Both may have a login: name:password@host:port. Name and password are percent-encoded.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import quote, unquote, urlsplit

from sidecart.launcher.errors import LaunchError

IN_BRACKETS = "an IPv6 address needs brackets, as in [::1]"


def host_and_port(name: str, address: str) -> tuple[str, int]:
    """Split host:port and remove the brackets of an IPv6 address.

    Raises LaunchError for any other form.
    """
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535) or not bare or _wrong(host, bare):
        raise LaunchError(f"{name}={address} is not host:port ({IN_BRACKETS}:6379)")
    return bare, int(port)


def _wrong(host: str, bare: str) -> bool:
    if ":" not in host:
        return any(each in host for each in "[]/@ ")
    try:
        ipaddress.IPv6Address(bare)
    except ValueError:
        return True
    return host == bare


def check_url(name: str, address: str, schemes: Sequence[str]) -> None:
    """Raise LaunchError, without the password, if an address is not a URL of these schemes."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - the property validates the port
    except ValueError as error:
        raise LaunchError(f"{name}: {error} ({IN_BRACKETS})") from None
    if parts.scheme not in schemes:
        raise LaunchError(f"{name} is not {schemes[0]}://host:port ({IN_BRACKETS})")


def without_password(address: str) -> str:
    """Remove login and password from an address, so that it can be shown."""
    scheme, separator, rest = _parts(address)
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def with_login(address: str, name: str, password: str) -> str:
    """Return the address with another login."""
    scheme, separator, rest = _parts(address)
    return f"{scheme}{separator}{quote(name, safe='')}:{quote(password, safe='')}@{rest.rpartition('@')[2]}"


def login_of(address: str) -> tuple[str, str]:
    """Return name and password of host:port with a login; both are empty without one."""
    name, _, password = address.rpartition("@")[0].partition(":")
    return unquote(name), unquote(password)


def _parts(address: str) -> tuple[str, str, str]:
    scheme, separator, rest = address.partition("://")
    return (scheme, separator, rest) if separator else ("", "", address)
