"""A client that acts for the users of a shop with the local token issuer."""

from pathlib import Path

from gateway.commands import COMMANDS
from sidecart.testkit.acting import Acting


def acting(folder: Path) -> Acting:
    """Return tokens for the commands of the shop, signed with the issuer's keys in a folder."""
    return Acting(folder, COMMANDS)
