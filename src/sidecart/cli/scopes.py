"""`sidecart scopes`: write which app may publish and read which topic."""

import click

from sidecart.launcher.project import root
from sidecart.launcher.servers.login_templates import RABBITMQ, REDIS, templates
from sidecart.launcher.topic_scopes import FILE, file_text


@click.command(
    "scopes",
    epilog="The sidecars and the servers enforce them. `sidecart run` derives both at each start; `dapr run` and "
    f"containers read {FILE}, and the servers in containers read {REDIS} and {RABBITMQ}.",
)
@click.option("--check", is_flag=True, help="change no file; exit with 1 if it would change")
def command(check: bool) -> int:
    """Write which app may publish and read which topic, from contracts/topics.json."""
    wanted = {FILE: file_text(), **templates()}
    files = {name: root() / name for name in wanted}
    stale = [
        name for name, text in wanted.items() if not files[name].is_file() or files[name].read_text("utf-8") != text
    ]
    if not stale:
        print(f"{', '.join(wanted)} are up to date")
        return 0
    if check:
        print(f"{', '.join(stale)}: differs from contracts/topics.json; run `sidecart scopes`")
        return 1
    for name in stale:
        files[name].write_text(wanted[name], encoding="utf-8")
        print(f"wrote {name}")
    return 0
