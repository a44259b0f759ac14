"""The doctor's rules: each has an id, a severity, and a function that finds violations in YAML."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sidecart.doctor import (
    rules_components,
    rules_configuration,
    rules_files,
    rules_identity,
    rules_publishing,
    rules_rabbitmq,
    rules_redis,
    rules_resiliency,
    rules_servers,
    rules_starts,
    rules_subscriptions,
)
from sidecart.doctor.findings import Finding, Place, Severity, Violation
from sidecart.doctor.resources import ignored
from sidecart.doctor.sidecar_config import SidecarConfig

DANGER, WARNING, NOTE = Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    id: str
    severity: Severity
    find: Callable[[SidecarConfig], Iterable[Violation]]


RULES = (
    Rule("not-yaml", DANGER, rules_files.not_yaml),
    Rule("document-too-long", DANGER, rules_files.too_long),
    Rule("not-loaded", DANGER, rules_files.not_loaded),
    Rule("resiliency-not-first", DANGER, rules_files.resiliency_not_first),
    Rule("resources-nested-folder", WARNING, rules_files.nested_folder),
    Rule("resources-other-file", NOTE, rules_files.other_file),
    Rule("path-missing", DANGER, rules_files.path_missing),
    Rule("folder-empty", WARNING, rules_files.folder_empty),
    Rule("doctor-comment", WARNING, rules_files.doctor_comment),
    Rule("component-incomplete", DANGER, rules_files.incomplete),
    Rule("component-twice", DANGER, rules_files.twice),
    Rule("scope-unknown-app", WARNING, rules_files.unknown_scope),
    Rule("env-unset", DANGER, rules_components.env_unset),
    Rule("podname-unset", DANGER, rules_components.podname_unset),
    Rule("env-not-allowed", DANGER, rules_components.env_not_allowed),
    Rule("secret-in-plain-text", WARNING, rules_components.secret_in_plain_text),
    Rule("metadata-unknown", WARNING, rules_components.metadata_unknown),
    Rule("in-memory", DANGER, rules_components.in_memory),
    Rule("ignore-errors", WARNING, rules_components.ignore_errors),
    Rule("consumer-id-uuid", DANGER, rules_components.consumer_id_uuid),
    Rule("smtp-binding", DANGER, rules_components.smtp_binding),
    Rule("outbox", WARNING, rules_components.outbox),
    Rule("topics-unscoped", WARNING, rules_components.topics_unscoped),
    Rule("publishers-disagree", DANGER, rules_publishing.publishers_disagree),
    Rule("postgres-few-connections", NOTE, rules_components.few_connections),
    Rule("redis-state-slow-retry", NOTE, rules_components.slow_retry),
    Rule("redis-no-password", WARNING, rules_redis.no_password),
    Rule("redis-no-inbound-retry", DANGER, rules_redis.no_inbound_retry),
    Rule("redis-stream-unbounded", DANGER, rules_redis.stream_unbounded),
    Rule("redis-stream-ttl-and-maxlen", WARNING, rules_redis.stream_ttl_and_maxlen),
    Rule("redis-stream-short", WARNING, rules_redis.stream_short),
    Rule("redis-interval-not-milliseconds", WARNING, rules_redis.interval_not_milliseconds),
    Rule("redis-redelivery-off", DANGER, rules_redis.redelivery_off),
    Rule("redis-value-unreadable", DANGER, rules_redis.value_unreadable),
    Rule("redis-concurrency-shared", WARNING, rules_redis.concurrency_shared),
    Rule("rabbitmq-guest", WARNING, rules_rabbitmq.guest),
    Rule("rabbitmq-not-durable", DANGER, rules_rabbitmq.not_durable),
    Rule("rabbitmq-auto-delete", DANGER, rules_rabbitmq.auto_delete),
    Rule("rabbitmq-not-persistent", DANGER, rules_rabbitmq.not_persistent),
    Rule("rabbitmq-no-confirm", DANGER, rules_rabbitmq.no_confirm),
    Rule("rabbitmq-no-requeue", DANGER, rules_rabbitmq.no_requeue),
    Rule("rabbitmq-auto-ack", DANGER, rules_rabbitmq.auto_ack),
    Rule("rabbitmq-no-prefetch", WARNING, rules_rabbitmq.no_prefetch),
    Rule("rabbitmq-value-unreadable", DANGER, rules_rabbitmq.value_unreadable),
    Rule("rabbitmq-flags-disagree", DANGER, rules_rabbitmq.flags_disagree),
    Rule("rabbitmq-queue-bounded", DANGER, rules_rabbitmq.queue_bounded),
    Rule("rabbitmq-concurrency-ignored", WARNING, rules_rabbitmq.concurrency_ignored),
    Rule("rabbitmq-publish-and-read", WARNING, rules_rabbitmq.publish_and_read),
    Rule("rabbitmq-requeue-at-once", WARNING, rules_rabbitmq.requeue_at_once),
    Rule("exponential-retry-ends", DANGER, rules_resiliency.exponential_ends),
    Rule("retry-budget-ends", DANGER, rules_resiliency.budget_ends),
    Rule("retry-leaves-some-out", DANGER, rules_resiliency.some_left_out),
    Rule("inbound-circuit-breaker", DANGER, rules_resiliency.circuit_breaker),
    Rule("retry-unknown-policy", DANGER, rules_resiliency.unknown_policy),
    Rule("resiliency-unreadable", DANGER, rules_resiliency.unreadable),
    Rule("resiliency-unknown-component", WARNING, rules_resiliency.unknown_component),
    Rule("dead-letter-topic-keeps-no-reason", NOTE, rules_subscriptions.dead_letter_topic),
    Rule("bulk-subscribe-waits", WARNING, rules_subscriptions.bulk_subscribe),
    Rule("unparseable-never-arrives", WARNING, rules_subscriptions.parsed_by_the_sidecar),
    Rule("subscription-unknown-pubsub", DANGER, rules_subscriptions.unknown_pubsub),
    Rule("hot-reload-on", NOTE, rules_configuration.hot_reload),
    Rule("tracing-on-every-hop", WARNING, rules_configuration.tracing),
    Rule("api-logging", WARNING, rules_configuration.api_logging),
    Rule("metrics-cardinality", NOTE, rules_configuration.metrics_cardinality),
    Rule("mdns", NOTE, rules_configuration.mdns),
    Rule("sqlite-resolver-cleanup", DANGER, rules_configuration.sqlite_cleanup),
    Rule("access-control-without-mtls", WARNING, rules_identity.without_mtls),
    Rule("access-control-allows", WARNING, rules_identity.allows_by_default),
    Rule("access-control-never-matches", WARNING, rules_identity.never_matches),
    Rule("sentry-without-validator", WARNING, rules_identity.any_identity),
    Rule("mtls-without-token", WARNING, rules_identity.no_sentry_token),
    Rule("listens-everywhere", WARNING, rules_starts.listens_everywhere),
    Rule("no-api-token", WARNING, rules_starts.no_api_token),
    Rule("redis-app-health-check", WARNING, rules_starts.health_check_on_redis),
    Rule("health-probe-too-slow", DANGER, rules_starts.probe_too_slow),
    Rule("redis-not-append-only", DANGER, rules_servers.not_append_only),
    Rule("redis-evicts", DANGER, rules_servers.evicts),
    Rule("redis-open", WARNING, rules_servers.is_open),
    Rule("login-shared", WARNING, rules_starts.login_shared),
    Rule("rabbitmq-no-hostname", DANGER, rules_servers.no_hostname),
    Rule("server-without-volume", WARNING, rules_servers.no_volume),
    Rule("rabbitmq-consumer-timeout", NOTE, rules_servers.consumer_timeout),
)


def judge(config: SidecarConfig, rules: Sequence[Rule] = RULES) -> list[Finding]:
    """Apply the rules; leave out findings that a document's comments silence."""
    documents = (*config.documents, *config.sources)
    silenced = {(Place.of(document.file, 0).file, rule) for document in documents for rule in ignored(document)}
    found = [
        Finding(rule.id, violation.severity or rule.severity, violation.place, violation.what, violation.fix)
        for rule in rules
        for violation in rule.find(config)
    ]
    return [one for one in found if (one.place.file, one.rule) not in silenced] + list(_idle(config, found))


def _idle(config: SidecarConfig, found: Sequence[Finding]) -> Iterator[Finding]:
    """Report `ignore` comments without a finding: they would hide a later one."""
    reported = {(one.place.file, one.rule) for one in found}
    for document in (*config.documents, *config.sources):
        for rule, line in ignored(document).items():
            place = Place.of(document.file, line)
            if (place.file, rule) not in reported:
                yield Finding(
                    IDLE, Severity.WARNING, place, f"the document has no {rule} to ignore", "remove the comment"
                )


IDLE = "ignore-without-finding"
