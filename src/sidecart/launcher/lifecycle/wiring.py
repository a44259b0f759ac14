"""How the processes of a system reach each other, and what their sidecars receive besides."""

from collections.abc import Mapping, Sequence


class Wiring:
    """Connects processes directly; a subclass may put proxies in between, or change sidecars."""

    def port(self, name: str, port: int) -> int:
        """Return the port at which an app and its sidecar reach the process with this port."""
        del name
        return port

    def address(self, name: str, address: str, port: int | None) -> str:
        """Return the address of a server for sidecars; an external server has no port here."""
        del name, port
        return address

    def sidecar_flags(self, app_id: str) -> Sequence[str]:
        """Return the last arguments of a sidecar's command line."""
        del app_id
        return ()

    def sidecar_env(self, app_id: str) -> Mapping[str, str]:
        """Return further variables of a sidecar's environment."""
        del app_id
        return {}
