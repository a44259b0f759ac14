"""`sidecart scopes`: write which app may publish and read which topic."""

import click

from sidecart.launcher.project import root
from sidecart.launcher.topic_scopes import FILE, file_text


@click.command(
    "scopes",
    epilog="The sidecars enforce the scopes. `sidecart run` derives them at each start; `dapr run` and containers read "
    f"{FILE}.",
)
@click.option("--check", is_flag=True, help="change no file; exit with 1 if it would change")
def command(check: bool) -> int:
    """Write which app may publish and read which topic, from contracts/topics.json."""
    file, text = root() / FILE, file_text()
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        print(f"{FILE} is up to date")
        return 0
    if check:
        print(f"{FILE} differs from contracts/topics.json: run `sidecart scopes`")
        return 1
    file.write_text(text, encoding="utf-8")
    print(f"wrote {FILE}")
    return 0
