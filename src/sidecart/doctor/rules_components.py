"""Rules for any component: environment variables, secrets and names."""

import difflib
import re
from collections.abc import Iterator

from sidecart.doctor.findings import Severity, Violation
from sidecart.doctor.metadata_names import NAMES, SECRET
from sidecart.doctor.resources import Component
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.doctor.starts import Environment

_PASSWORD_IN_URL = re.compile(r"^[a-z+]+://[^:/@\s]*:[^@/\s]+@|\bpassword=[^\s]", re.IGNORECASE)


def _environment_without(config: SidecarConfig, component: Component, name: str) -> tuple[Environment, str] | None:
    """The first environment that lacks a variable, and its app; fully known environments first."""
    found = [(env, app) for app, env in config.environments(component) if env.lacks(name)]
    return min(found, key=lambda each: not each[0].is_whole, default=None)


def _where(env: Environment, app: str) -> str:
    return f"the sidecar of {app}" if app and env.is_whole else "this environment"


def _severity(env: Environment) -> Severity:
    return Severity.DANGER if env.is_whole else Severity.WARNING


def env_unset(config: SidecarConfig) -> Iterator[Violation]:
    """The variable of an envRef is not set: daprd uses an empty value without a warning."""
    for each in config.components:
        for setting in each.settings:
            lacking = (
                _environment_without(config, each, setting.env) if setting.env and _is_allowed(setting.env) else None
            )
            if lacking is not None and setting.value is None:
                where = _where(*lacking)
                what = f"{setting.env} is not set in {where}, so `{setting.name}` is empty"
                fix = f"set {setting.env} in the sidecar's environment (the doctor reads it from --env-file FILE)"
                yield Violation(each.on(setting.line), what, fix, _severity(lacking[0]))


def podname_unset(config: SidecarConfig) -> Iterator[Violation]:
    """`{podName}` stands for the variable POD_NAME; without it the component does not start."""
    for each in config.components:
        for setting in each.settings:
            lacking = _environment_without(config, each, "POD_NAME") if "{podName}" in (setting.value or "") else None
            if lacking is not None:
                where = _where(*lacking)
                what = f"POD_NAME is not set in {where}: `{setting.name}` needs it, and the sidecar exits without it"
                fix = "POD_NAME=gateway-0 in the sidecar's environment: one name for each replica, stable over restarts"
                yield Violation(each.on(setting.line), what, fix, _severity(lacking[0]))


def _is_allowed(name: str) -> bool:
    upper = name.upper()
    return not (upper == "APP_API_TOKEN" or upper.startswith("DAPR_") or " " in upper)


def env_not_allowed(config: SidecarConfig) -> Iterator[Violation]:
    """daprd hides these variables from components: the value is empty.

    Source: dapr 1.18.2, pkg/runtime/processor/secret.
    """
    for each in config.components:
        for setting in each.settings:
            if setting.env and setting.value is None and not _is_allowed(setting.env):
                what = f"daprd passes {setting.env} to no component, so `{setting.name}` is empty"
                yield Violation(
                    each.on(setting.line),
                    what,
                    "choose another name for the variable: not DAPR_* and not APP_API_TOKEN",
                )


def secret_in_plain_text(config: SidecarConfig) -> Iterator[Violation]:
    """The file contains a secret that every reader of the repository can see."""
    for each in config.components:
        for setting in each.settings:
            value = setting.value or ""
            if (setting.name.lower() in SECRET and value) or _PASSWORD_IN_URL.search(value):
                what = f"`{setting.name}` holds a secret in plain text"
                variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", setting.name).upper()
                yield Violation(
                    each.on(setting.line), what, f"use envRef: {variable} instead of value (or secretKeyRef)"
                )


def metadata_unknown(config: SidecarConfig) -> Iterator[Violation]:
    """The component has no such setting: daprd ignores it silently."""
    for each in config.components:
        known = NAMES.get(each.type)
        for setting in each.settings if known else []:
            lower = {name.lower(): name for name in known or ()}
            if setting.name and setting.name.lower() not in lower:
                near = difflib.get_close_matches(setting.name.lower(), lower, 1, 0.7)
                fix = f"- name: {lower[near[0]]}" if near else f"remove it, or check the documentation of {each.type}"
                what = f"{each.type} has no setting `{setting.name}`: daprd ignores it silently"
                yield Violation(each.on(setting.line), what, fix)


def in_memory(config: SidecarConfig) -> Iterator[Violation]:
    """The component stores everything in its sidecar's memory."""
    for each in config.components:
        if each.type.endswith(".in-memory"):
            what = f"{each.type} stores everything in one sidecar: a restart loses it, and other apps cannot see it"
            kind = each.type.partition(".")[0]
            yield Violation(each.place("spec", "type"), what, f"  type: {kind}.redis")


def ignore_errors(config: SidecarConfig) -> Iterator[Violation]:
    """With ignoreErrors the sidecar starts without the failed component, and nothing is read."""
    for each in config.components:
        if each.document.root.text("spec", "ignoreErrors") == "true":
            what = f"if {each.name} fails to start, the sidecar runs without it and still reports that it is healthy"
            yield Violation(
                each.place("spec", "ignoreErrors"), what, "  ignoreErrors: false (a sidecar that exits is restarted)"
            )


def consumer_id_uuid(config: SidecarConfig) -> Iterator[Violation]:
    """Each start creates a new consumer group."""
    for each in config.components:
        found = each.setting("consumerID")
        if each.type.startswith("pubsub.") and found is not None and "{uuid}" in (found.value or ""):
            what = "each start creates a new group: events in the old group are never read, and it is never deleted"
            fix = 'value: "{podName}" (one group per replica, stable over restarts), or no consumerID (one per app)'
            yield Violation(each.on(found.line), what, fix)


def smtp_binding(config: SidecarConfig) -> Iterator[Violation]:
    """Requests of the SMTP binding share one metadata map: `merged := metadata` copies a pointer.

    Source: components-contrib 1.18.3, bindings/smtp.
    """
    for each in config.components:
        if each.type == "bindings.smtp":
            what = "its requests share their metadata: the Cc and Bcc of one mail can carry over to the next one"
            yield Violation(each.place("spec", "type"), what, "send mail from the app by SMTP")


def outbox(config: SidecarConfig) -> Iterator[Violation]:
    """Dapr's outbox delays each publish by `defaultStateScanDelay`.

    Source: dapr 1.18.2, pkg/runtime/pubsub/outbox.go.
    """
    for each in config.components:
        found = each.setting("outboxPublishPubsub")
        if each.type.startswith("state.") and found is not None:
            what = "Dapr's outbox waits 1 s before each publish, and uses one topic for the whole store"
            yield Violation(
                each.on(found.line),
                what,
                "keep the events to publish in the record itself, and publish them after the save",
            )


def few_connections(config: SidecarConfig) -> Iterator[Violation]:
    """The PostgreSQL store's pool: pgx opens 4 connections, or one per core if that is more."""
    for each in config.components:
        if each.type == "state.postgresql" and each.setting("maxConns") is None:
            what = "a sidecar opens 4 connections to the store (or one per core, if more): further events wait for one"
            yield Violation(each.place("spec", "type"), what, '- {name: maxConns, value: "16"}')


def slow_retry(config: SidecarConfig) -> Iterator[Violation]:
    """The Redis store waits 2 s before each of 3 retries (ParseClientFromProperties)."""
    for each in config.components:
        if each.type == "state.redis" and each.setting("redisMinRetryInterval") is None:
            what = "after its connection breaks, a command waits 2 s before each of 3 retries: reads pause for 6 s"
            fix = "- {name: redisMinRetryInterval, value: 50ms} and - {name: redisMaxRetryInterval, value: 500ms}"
            yield Violation(each.place("spec", "type"), what, fix)


def topics_unscoped(config: SidecarConfig) -> Iterator[Violation]:
    """Other components protect their topics, and through this one each app reaches all of them.

    Source: dapr 1.18.2, pkg/runtime/pubsub/adapter.go.
    """
    pubsubs = [each for each in config.components if each.type.startswith("pubsub.")]
    is_scoped = [each.setting("protectedTopics") is not None for each in pubsubs]
    for each, scoped in zip(pubsubs, is_scoped, strict=True):
        if any(is_scoped) and not scoped:
            what = f"any app may publish and read any topic through `{each.name}`; other components restrict this"
            fix = "add protectedTopics, and publishingScopes or subscriptionScopes"
            yield Violation(each.place("spec", "type"), what, fix)
