"""The gateway of the shop: its commands and queries, served by the edge."""

from pathlib import Path

from gateway.commands import COMMANDS, ERASURES
from gateway.queries import EXPORTS, QUERIES
from sidecart.edge.app import serve
from sidecart.edge.declarations import Application

SHOP = Application(
    title="Sidecart",
    description="The events of the shop.",
    folder=Path(__file__).parents[1],
    commands=COMMANDS,
    queries=QUERIES,
    erasures=ERASURES,
    exports=EXPORTS,
)


def main() -> None:
    """Serve until shutdown."""
    serve(SHOP)


if __name__ == "__main__":
    main()
