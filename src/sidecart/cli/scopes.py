"""`sidecart scopes`: write who may publish, read and call what, for `dapr run` and containers."""

import click

from sidecart.launcher import access_control, monitor, topic_scopes
from sidecart.launcher.apps import read_apps
from sidecart.launcher.consistency import application_of
from sidecart.launcher.project import make_importable, root
from sidecart.launcher.servers.login_templates import POSTGRES, RABBITMQ, REDIS, templates


@click.command(
    "scopes",
    epilog="The sidecars and the servers enforce them. `sidecart run` derives all at each start; `dapr run` and "
    f"containers read {topic_scopes.FILE}, and containers read {access_control.FILE}, "
    f"{monitor.CONTAINERS_FILE}, {REDIS}, {RABBITMQ} and {POSTGRES}.",
)
@click.option("--check", is_flag=True, help="change no file; exit with 1 if one would change")
def command(check: bool) -> int:
    """Write which app may publish, read and call what, from contracts/topics.json and the gateway.

    The topics of each app come from contracts/topics.json, and the routes that the gateway may read
    from its declarations.
    """
    make_importable()
    access = access_control.file_text(application_of(read_apps()))
    wanted = {
        topic_scopes.FILE: topic_scopes.file_text(),
        access_control.FILE: access,
        monitor.CONTAINERS_FILE: monitor.container_configuration(),
        **templates(),
    }
    code = 0
    for name, text in wanted.items():
        file = root() / name
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            print(f"{name} is up to date")
        elif check:
            print(f"{name} is old: run `sidecart scopes`")
            code = 1
        else:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return code
