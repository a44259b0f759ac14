"""`sidecart manifests`: write the manifests for Kubernetes, or print their Secrets."""

import click

from sidecart.kubernetes import kustomizations
from sidecart.kubernetes.files import manifests, unexpected
from sidecart.kubernetes.names import FOLDER
from sidecart.kubernetes.secrets import secrets_text
from sidecart.launcher.project import make_importable, root


@click.command(
    "manifests",
    epilog="Run it after you changed components/, dapr/, dapr.yaml, contracts/topics.json or a query of the gateway.",
)
@click.option("--check", is_flag=True, help="change no file; exit with 1 if one would change")
@click.option(
    "--secrets",
    "overlay",
    type=click.Choice(list(kustomizations.OVERLAYS)),
    help="print the Secrets of an overlay for `kubectl apply -f -`, and write no file",
)
def command(check: bool, overlay: str | None) -> int:
    """Write the manifests for Kubernetes from the components, the apps and the topics.

    The Secrets are not among them: --secrets creates them, and keeps their values in .sidecart. A
    repeated call prints the same values.
    """
    make_importable()
    if overlay is not None:
        print(secrets_text(overlay), end="")
        return 0
    code, written = 0, 0
    for name, text in manifests().items():
        file = root() / name
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        code |= check
        if check:
            print(f"{name} is old: run `sidecart manifests`")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written += 1
    for path in unexpected():
        print(f"{path.relative_to(root())} has no source: remove it, or move it to your own folder")
        code = 1
    print(f"{FOLDER}: {written} files written" if written else f"{FOLDER} is {'old' if code else 'up to date'}")
    return int(code)
