"""How many connections a server keeps, in total and from one address."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Set

Client = tuple[str, int] | None
"""Address and port, as uvicorn knows them; None for a socket without."""

FILES_OF_ITS_OWN = 1_000
"""Files that connections must leave: listeners, the connections to the sidecar, logs."""
FILES_WITHOUT_MAXIMUM = 100_000


class ConnectionLimit:
    """Counts connections by the address of the client.

    The addresses of proxies are not limited, because they stand for many clients. The total limit
    holds for all.
    """

    def __init__(self, total: int, per_address: int, proxies: Set[str]) -> None:
        self.total = total
        self._per_address = per_address
        self._proxies = proxies
        self._counts: Counter[str] = Counter()
        self._number = 0

    def admits(self, client: Client) -> bool:
        """Count a new connection; return False, and do not count it, if it is one too many."""
        address = client[0] if client else ""
        if self._number >= self.total:
            return False
        if address not in self._proxies and self._counts[address] >= self._per_address:
            return False
        self._number += 1
        self._counts[address] += 1
        return True

    def release(self, client: Client) -> None:
        """Forget a connection that was admitted."""
        address = client[0] if client else ""
        self._number -= 1
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as allowed; return the limit.

    Where the system sets no maximum, it is `FILES_WITHOUT_MAXIMUM`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WITHOUT_MAXIMUM if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
