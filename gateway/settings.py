"""The settings of the gateway: those of the edge. The launcher finds them here."""

from sidecart.edge.settings import Settings, read

__all__ = ["Settings", "read"]
