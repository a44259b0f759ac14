"""The files and the environment of a RabbitMQ server that the launcher starts."""

import json
from collections.abc import Sequence
from pathlib import Path

from sidecart.launcher.environment import plain_environment

CONTROL_ENVIRONMENT = "control.json"
"""The environment of a server's processes, stored with its data for the command-line tool."""

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
consumer_timeout = {consumer_timeout_ms}
# A small disk must not stop a development system. Below this limit the server accepts no events.
disk_free_limit.absolute = 100MB
log.console = true
log.console.level = warning
log.file = false
# The logins. With this file the server creates no login of its own.
load_definitions = {definitions}
"""
DEFINITIONS = "definitions.json"


def environment(folder: Path, ports: Sequence[int], consumer_timeout_ms: int) -> dict[str, str]:
    """Write the server's files into its folder; return the environment of its processes.

    The ports are those of the server, of its port mapper, and of the distribution.
    """
    port, mapper_port, distribution_port = ports
    configuration = folder / "rabbitmq.conf"
    text = CONFIGURATION.format(port=port, consumer_timeout_ms=consumer_timeout_ms, definitions=folder / DEFINITIONS)
    configuration.write_text(text, encoding="utf-8")
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n", encoding="utf-8")
    empty_file = folder / "rabbitmq-env.conf"
    empty_file.touch()
    env = plain_environment() | {
        "HOME": str(folder / "home"),  # the location of the Erlang cookie
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # The same in every run, because the data belongs to the node with this name. Concurrent
        # servers do not conflict, because each has its own port mapper.
        "RABBITMQ_NODENAME": "sidecart@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(empty_file),  # instead of the file in /etc
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        # Makes the script exec the server instead of staying its parent: one process to signal, and
        # none left running.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    control = folder / CONTROL_ENVIRONMENT
    control.touch(mode=0o600)
    control.write_text(json.dumps(env), encoding="utf-8")
    return env
