"""The apps of a Multi-App Run file."""

from sidecart.doctor.starts import Environment, Flag, Start, is_loopback
from sidecart.doctor.yaml_files import Document, Tree

RUN_FILE_FLAGS = {
    "apiListenAddresses": "dapr-listen-addresses",
    "appHealthProbeInterval": "app-health-probe-interval",
    "appHealthProbeTimeout": "app-health-probe-timeout",
    "appPort": "app-port",
    "configFilePath": "config",
    "enableApiLogging": "enable-api-logging",
    "enableAppHealthCheck": "enable-app-health-check",
    "resourcesPath": "resources-path",
    "resourcesPaths": "resources-path",
}
"""The run file's keys that the doctor checks, and their daprd flags.

Source: dapr/cli 1.16.5, pkg/standalone.
"""


def is_run_file(root: Tree) -> bool:
    """Whether a document is a Multi-App Run file."""
    return bool(root.items("apps")) and root.at("version") is not None and not root.text("kind")


def of_run_file(document: Document, environment: Environment) -> list[Start]:
    """The sidecars of a Multi-App Run file; paths are relative to the file.

    Each app's own values override those of `common`.
    """
    common = document.root.entries("common")
    base = document.file.parent
    found = []
    for app in document.root.items("apps"):
        flags: dict[str, tuple[Flag, ...]] = {}
        for key, tree in (common | app.entries()).items():
            if key in RUN_FILE_FLAGS:
                values = tree.value if isinstance(tree.value, list) else [tree]
                flags[RUN_FILE_FLAGS[key]] = tuple(
                    Flag(each.value, each.line) for each in values if isinstance(each.value, str)
                )
        paths = {
            name: tuple((base / flag.value, flag.line) for flag in flags.get(name, ()))
            for name in ("resources-path", "config")
        }
        listens = flags.get("dapr-listen-addresses", ())
        found.append(
            Start(
                file=document.file,
                line=app.line,
                app_id=app.text("appID"),
                flags=flags,
                environment=environment,
                resources=paths["resources-path"],
                configs=paths["config"],
                is_reachable=not (listens and all(is_loopback(each) for each in listens[-1].value.split(","))),
                is_compose=False,
            )
        )
    return found
