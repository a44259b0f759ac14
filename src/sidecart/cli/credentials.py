"""`sidecart credentials`: print how to create a login per app on external servers."""

import click

from sidecart.cli.arguments import broker_option, store_option
from sidecart.launcher.lifecycle.options import EXTERNAL
from sidecart.launcher.lifecycle.settings import APP_LOGINS, external_servers
from sidecart.launcher.private_files import keep_private
from sidecart.launcher.project import home
from sidecart.launcher.servers.addresses import without_password
from sidecart.launcher.servers.registry import BROKERS, STORES


@click.command(
    "credentials",
    epilog="The rights derive from contracts/topics.json. The output contains hashes; the passwords are in .sidecart. "
    f"After you ran the commands, start the system with {APP_LOGINS}=on. On its own servers, the launcher does this "
    "at each start.",
)
@broker_option
@store_option
def command(broker: str, store: str) -> int:
    """Print the commands that create a login per app on your broker and your store.

    A repeated call prints the same passwords.
    """
    keep_private(home())
    external = external_servers()
    for server in dict.fromkeys((BROKERS[broker], STORES[store])):
        address = external.get(server.env, "")
        print(f"# {server.names[0]} at {without_password(address) or server.env}")
        print(server.login_commands(server.logins(home() / EXTERNAL), address))
    return 0
