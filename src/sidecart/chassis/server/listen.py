"""Binds the ports of an app before anything else of it starts."""

from __future__ import annotations

import os
import socket

from sidecart.chassis.settings import SettingError, in_url


def bound(setting: str, host: str, port: int) -> list[socket.socket]:
    """Bind a port on every address of a host, without listening; raise SettingError if one fails.

    Until the app listens, connections are refused, as if no process ran.
    """
    where = f"{in_url(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingError(setting, f"{where}: {error.strerror}") from None
    listeners: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        listeners.append(listener)
        try:
            # With SO_REUSEADDR two processes may bind the port at the same moment. Only one can
            # listen; the other one then exits.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and len(found) > 1:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 gets its own
            listener.bind(address)
        except OSError as error:
            for each in listeners:
                each.close()
            raise SettingError(setting, f"{where}: {os.strerror(error.errno or 0)}") from None
    return listeners
