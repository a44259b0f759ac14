"""What any component can get wrong: its environment, its secrets, its names."""

import difflib
import re
from collections.abc import Iterator

from cli.doctor.findings import Severity, Violation
from cli.doctor.metadata_names import NAMES, SECRET
from cli.doctor.resources import Component
from cli.doctor.sidecar_config import SidecarConfig
from cli.doctor.starts import Environment

_PASSWORD_IN_URL = re.compile(r"^[a-z+]+://[^:/@\s]*:[^@/\s]+@|\bpassword=[^\s]", re.IGNORECASE)


def _lacking(config: SidecarConfig, component: Component, name: str) -> tuple[Environment, str] | None:
    """The first environment without a variable, and whose it is; one that is sure to lack it goes before."""
    found = [(env, app) for app, env in config.environments(component) if env.lacks(name)]
    return min(found, key=lambda each: not each[0].is_whole, default=None)


def _where(env: Environment, app: str) -> str:
    return f"the sidecar of {app}" if app and env.is_whole else "this environment"


def _severity(env: Environment) -> Severity:
    return Severity.DANGER if env.is_whole else Severity.WARNING


def env_unset(config: SidecarConfig) -> Iterator[Violation]:
    """A variable that a setting is read from and that is not set: the value is empty, without a word."""
    for each in config.components:
        for setting in each.settings:
            lacking = _lacking(config, each, setting.env) if setting.env and _is_allowed(setting.env) else None
            if lacking is not None and setting.value is None:
                where = _where(*lacking)
                what = f"{setting.env} is not set in {where}: `{setting.name}` is empty there"
                fix = f"set {setting.env} where the sidecar runs (doctor --env-file FILE reads what it will be)"
                yield Violation(each.on(setting.line), what, fix, _severity(lacking[0]))


def podname_unset(config: SidecarConfig) -> Iterator[Violation]:
    """`{podName}` is POD_NAME in the sidecar's environment; without it the component does not start."""
    for each in config.components:
        for setting in each.settings:
            lacking = _lacking(config, each, "POD_NAME") if "{podName}" in (setting.value or "") else None
            if lacking is not None:
                where = _where(*lacking)
                what = f"POD_NAME is not set in {where}: `{setting.name}` needs it, and without it the sidecar ends"
                fix = (
                    "POD_NAME=gateway-0 in the sidecar's environment: another one for each replica, kept over restarts"
                )
                yield Violation(each.on(setting.line), what, fix, _severity(lacking[0]))


def _is_allowed(name: str) -> bool:
    upper = name.upper()
    return not (upper == "APP_API_TOKEN" or upper.startswith("DAPR_") or " " in upper)


def env_not_allowed(config: SidecarConfig) -> Iterator[Violation]:
    """Variables that daprd does not hand to components (pkg/runtime/processor/secret): the value stays empty."""
    for each in config.components:
        for setting in each.settings:
            if setting.env and setting.value is None and not _is_allowed(setting.env):
                what = f"daprd gives {setting.env} to no component: `{setting.name}` is empty"
                yield Violation(
                    each.on(setting.line), what, "name the variable otherwise, not DAPR_* and not APP_API_TOKEN"
                )


def secret_in_plain_text(config: SidecarConfig) -> Iterator[Violation]:
    """A password in the file, for whoever can read the repository."""
    for each in config.components:
        for setting in each.settings:
            value = setting.value or ""
            if (setting.name.lower() in SECRET and value) or _PASSWORD_IN_URL.search(value):
                what = f"`{setting.name}` holds a secret in plain text"
                variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", setting.name).upper()
                yield Violation(each.on(setting.line), what, f"envRef: {variable} in place of value (or secretKeyRef)")


def metadata_unknown(config: SidecarConfig) -> Iterator[Violation]:
    """A setting that the component does not have: it is passed over without a word."""
    for each in config.components:
        known = NAMES.get(each.type)
        for setting in each.settings if known else []:
            lower = {name.lower(): name for name in known or ()}
            if setting.name and setting.name.lower() not in lower:
                near = difflib.get_close_matches(setting.name.lower(), lower, 1, 0.7)
                fix = f"- name: {lower[near[0]]}" if near else f"remove it, or look it up: {each.type}"
                what = f"{each.type} has no setting `{setting.name}`: it is passed over without a word"
                yield Violation(each.on(setting.line), what, fix)


def in_memory(config: SidecarConfig) -> Iterator[Violation]:
    """A component that keeps everything in its sidecar."""
    for each in config.components:
        if each.type.endswith(".in-memory"):
            what = f"{each.type} keeps everything in one sidecar: it is gone with it, and no other app sees it"
            kind = each.type.partition(".")[0]
            yield Violation(each.place("spec", "type"), what, f"  type: {kind}.redis")


def ignore_errors(config: SidecarConfig) -> Iterator[Violation]:
    """A component that may fail: the sidecar then runs without it, and nothing is read."""
    for each in config.components:
        if each.document.root.text("spec", "ignoreErrors") == "true":
            what = f"if {each.name} cannot start, the sidecar runs without it, and says that it is healthy"
            yield Violation(
                each.place("spec", "ignoreErrors"), what, "  ignoreErrors: false (a sidecar that ends is started again)"
            )


def consumer_id_uuid(config: SidecarConfig) -> Iterator[Violation]:
    """A consumer group that is new at each start."""
    for each in config.components:
        found = each.setting("consumerID")
        if each.type.startswith("pubsub.") and found is not None and "{uuid}" in (found.value or ""):
            what = "each start makes a new group: what waited in the old one is never read, and it stays for ever"
            fix = 'value: "{podName}" (a group per replica, kept over restarts), or no consumerID (one per app)'
            yield Violation(each.on(found.line), what, fix)


def smtp_binding(config: SidecarConfig) -> Iterator[Violation]:
    """components-contrib 1.18.3, bindings/smtp: `merged := metadata` copies a pointer, so requests share one."""
    for each in config.components:
        if each.type == "bindings.smtp":
            what = "its requests share their metadata: a recipient (Cc, Bcc) of one mail can get the next one, too"
            yield Violation(each.place("spec", "type"), what, "send mail from the app, by SMTP")


def outbox(config: SidecarConfig) -> Iterator[Violation]:
    """dapr 1.18.2, pkg/runtime/pubsub/outbox.go: `defaultStateScanDelay`."""
    for each in config.components:
        found = each.setting("outboxPublishPubsub")
        if each.type.startswith("state.") and found is not None:
            what = "the outbox sleeps 1 s before each publish, and has one topic for the whole store"
            yield Violation(
                each.on(found.line),
                what,
                "keep what is to be published in the record itself, and publish after the save",
            )


def few_connections(config: SidecarConfig) -> Iterator[Violation]:
    """The pool of the PostgreSQL store: pgx takes 4, or as many as there are cores if these are more."""
    for each in config.components:
        if each.type == "state.postgresql" and each.setting("maxConns") is None:
            what = "a sidecar has 4 connections to the store (or as many as cores): more events than that wait for one"
            yield Violation(each.place("spec", "type"), what, '- {name: maxConns, value: "16"}')


def slow_retry(config: SidecarConfig) -> Iterator[Violation]:
    """The Redis store waits 2 s, three times, before it says that a command failed (ParseClientFromProperties)."""
    for each in config.components:
        if each.type == "state.redis" and each.setting("redisMinRetryInterval") is None:
            what = "a command whose connection broke waits 2 s before each of 3 further tries: reads pause for 6 s"
            fix = "- {name: redisMinRetryInterval, value: 50ms} and - {name: redisMaxRetryInterval, value: 500ms}"
            yield Violation(each.place("spec", "type"), what, fix)
