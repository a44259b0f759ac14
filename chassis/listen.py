"""Taking the ports of an app before anything of it starts."""

from __future__ import annotations

import os
import socket

from chassis.settings import SettingError, in_url


def bound(setting: str, host: str, port: int) -> list[socket.socket]:
    """Take a port of every address of a host, without listening yet; raise SettingError if one is not to be had.

    A caller that comes before the app has started is refused, as by a process that is not there.
    """
    where = f"{in_url(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingError(setting, f"{where}: {error.strerror}") from None
    taken: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        taken.append(listener)
        try:
            # Two that take a port at the same moment both bind it, and only one may listen: the other one ends then.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and len(found) > 1:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # its IPv4 address is taken beside it
            listener.bind(address)
        except OSError as error:
            for each in taken:
                each.close()
            raise SettingError(setting, f"{where}: {os.strerror(error.errno or 0)}") from None
    return taken
