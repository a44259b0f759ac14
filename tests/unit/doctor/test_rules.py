"""Cases beyond the traps: rules that must not match, and comments that silence a rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.doctor.findings import Finding, Severity, by_severity
from sidecart.doctor.rules import judge
from sidecart.doctor.starts import Environment
from sidecart.doctor.targets import named

ADDRESSES = {"REDIS_HOST": "127.0.0.1:6379", "AMQP_URL": "amqp://127.0.0.1"}

RESILIENCY = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: retries
spec:
  policies:
    retries:
      {name}: {{policy: {policy}, duration: 1s, maxRetries: -1}}
  targets:
    components: {targets}
"""
READER = """\
# doctor: read-only
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: inbox
spec:
  type: pubsub.redis
  version: v1
  metadata:
    - {name: redisHost, envRef: REDIS_HOST}
    - {name: redisPassword, secretKeyRef: {name: redis, key: password}}
    - {name: concurrency, value: "32"}
"""
FOREVER = RESILIENCY.format(name="forever", policy="constant", targets="{inbox: {inbound: {retry: forever}}}")


def reported(folder: Path, *texts: str, environment: dict[str, str] = ADDRESSES) -> list[Finding]:
    """The doctor's findings for one folder of files with these texts."""
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text, encoding="utf-8")
    return by_severity([one for config in named([folder], Environment(environment)) for one in judge(config)])


def names(findings: list[Finding]) -> list[str]:
    """The rules of the findings."""
    return [one.rule for one in findings]


def test_a_correct_folder_has_no_findings(tmp_path: Path) -> None:
    """A reader with an endless retry breaks no rule."""
    assert [] == reported(tmp_path, READER, FOREVER)


@pytest.mark.parametrize(
    "name",
    [
        "DefaultPubsubComponentInboundRetryPolicy",
        "DefaultComponentInboundRetryPolicy",
        "DefaultComponentRetryPolicy",
        "DefaultRetryPolicy",
    ],
)
def test_a_default_policy_is_enough(tmp_path: Path, name: str) -> None:
    """It applies to a component that is not a target."""
    assert [] == reported(tmp_path, READER, RESILIENCY.format(name=name, policy="constant", targets="{}"))


def test_a_target_takes_no_default(tmp_path: Path) -> None:
    """A component that is a target for outbound calls only has no inbound retry."""
    policy = RESILIENCY.format(name="DefaultRetryPolicy", policy="constant", targets="{inbox: {outbound: {}}}")

    assert ["redis-no-inbound-retry"] == names(reported(tmp_path, READER, policy))


def test_a_dead_letter_topic_keeps_failed_events(tmp_path: Path) -> None:
    """Events whose retries end are not lost, so the doctor reports only the note."""
    subscription = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {pubsubname: inbox, "
    subscription += "topic: t, routes: {default: /t}, deadLetterTopic: dead}\n"

    assert ["dead-letter-topic-keeps-no-reason"] == names(reported(tmp_path, READER, subscription))


def test_an_exponential_policy_is_harmless_on_rabbitmq(tmp_path: Path) -> None:
    """RabbitMQ requeues the event when the retries end."""
    reader = READER.replace("pubsub.redis", "pubsub.rabbitmq").replace("concurrency", "prefetchCount")
    reader = reader.replace("redisHost, envRef: REDIS_HOST", "connectionString, envRef: AMQP_URL")
    reader = reader.replace("    - {name: redisPassword, secretKeyRef: {name: redis, key: password}}\n", "")
    reader += "    - {name: deletedWhenUnused, value: false}\n    - {name: requeueInFailure, value: true}\n"

    assert [] == reported(tmp_path, reader, FOREVER.replace("constant", "exponential"))


def test_setting_names_are_compared_without_case(tmp_path: Path) -> None:
    """daprd's decoder ignores case."""
    assert [] == reported(tmp_path, READER.replace("concurrency", "Concurrency"), FOREVER)


def test_values_outside_the_file_are_not_judged(tmp_path: Path) -> None:
    """The file does not contain a secret's value."""
    reader = READER.replace('concurrency, value: "32"', "processingTimeout, secretKeyRef: {name: a, key: b}")

    assert ["redis-concurrency-shared"] == names(reported(tmp_path, reader, FOREVER))


def test_a_variable_that_is_unset_here_is_a_warning(tmp_path: Path) -> None:
    """The sidecar may run in another environment; a compose file would make it a danger."""
    (finding,) = reported(tmp_path, READER, FOREVER, environment={})

    assert ("env-unset", Severity.WARNING) == (finding.rule, finding.severity)


COMPOSE = """\
services:
  order-dapr:
    image: daprio/daprd:1.18.2
    environment: [DAPR_API_TOKEN=one, APP_API_TOKEN=two]
    env_file: {env_file}
    volumes: ["./components:/components:ro"]
    command: ["./daprd", "--app-id", "order", "--resources-path", "/components", "--config=/components/config.yaml"]
"""
CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: settings}
spec:
  features: [{name: HotReload, enabled: false}]
  nameResolution: {component: consul, version: v1}
"""


@pytest.mark.parametrize(
    ("env_file", "expected"), [("[]", [("env-unset", Severity.DANGER)]), ("[secret.env]", [])], ids=["whole", "partial"]
)
def test_a_compose_file_defines_the_whole_environment_unless_an_env_file_is_missing(
    tmp_path: Path, env_file: str, expected: list[tuple[str, Severity]]
) -> None:
    """The contents of an env_file outside the repository are unknown."""
    (tmp_path / "components").mkdir()
    for name, text in (("inbox", READER), ("resiliency", FOREVER), ("config", CONFIGURATION)):
        (tmp_path / "components" / f"{name}.yaml").write_text(text, encoding="utf-8")

    assert expected == [(one.rule, one.severity) for one in reported(tmp_path, COMPOSE.replace("{env_file}", env_file))]


def test_a_comment_with_a_reason_silences_a_rule(tmp_path: Path) -> None:
    """It silences only that rule in that file."""
    reader = READER.replace('    - {name: concurrency, value: "32"}\n', "")
    silent = "# doctor: ignore redis-concurrency-shared: one topic, and its events are quick\n" + reader

    assert ["redis-concurrency-shared"] == names(reported(tmp_path, reader, FOREVER))
    assert [] == reported(tmp_path, silent, FOREVER)


def test_a_comment_without_a_reason_silences_nothing(tmp_path: Path) -> None:
    """The doctor reports both the comment and the rule's finding."""
    reader = READER.replace('    - {name: concurrency, value: "32"}\n', "")
    silent = "# doctor: ignore redis-concurrency-shared\n" + reader

    assert ["doctor-comment", "redis-concurrency-shared"] == sorted(names(reported(tmp_path, silent, FOREVER)))


@pytest.mark.parametrize(
    "text",
    [
        "kind: Component\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: words\nspec: words\nscopes: words\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: a, metadata: {a: b}}\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: a, metadata: [1, []]}\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nspec: {policies: {retries: [1]}, targets: {components: 1}}\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec: [1]\n",
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nspec: {}\n",
        "version: 1\napps: [1, {}]\ncommon: words\n",
        "services: {a: 1, b: {image: daprio/daprd, command: './daprd --app-id \"'}}\n",
        "services: {a: {image: daprio/daprd, command: {a: b}, volumes: [{}], ports: [{}], env_file: {a: b}}}\n",
        "{}\n",
        "[]\n",
    ],
)
def test_malformed_documents_raise_nothing(tmp_path: Path, text: str) -> None:
    """The doctor reports problems only as findings."""
    assert all(one.place.file for one in reported(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\n", "component-incomplete"),
        (
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\n"
            "spec: {type: bindings.cron, version: v1, metadata: {schedule: '@daily'}}\n",
            "component-incomplete",
        ),
        ("apiVersion: dapr.io/v1\nkind: Component\nmetadata: {name: a}\n", "not-loaded"),
    ],
)
def test_a_malformed_component_is_reported(tmp_path: Path, text: str, rule: str) -> None:
    """The cases: no spec, metadata that is not a list, and an unknown version."""
    assert rule in names(reported(tmp_path, text))


def test_yaml_of_other_tools_is_ignored(tmp_path: Path) -> None:
    """A Kubernetes Deployment and a CI workflow break no rule."""
    deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: order}\nspec: {replicas: 1}\n"

    assert [] == reported(tmp_path, deployment, "on: push\njobs: {}\n")


@pytest.mark.parametrize("name", [r"a\0b", r"a\ud800b"], ids=["nul", "lone-surrogate"])
@pytest.mark.parametrize(
    "text",
    [
        'version: 1\napps: [{appID: order, appPort: 1, resourcesPath: "NAME"}]\n',
        'version: 1\napps: [{appID: order, appPort: 1, configFilePath: "NAME"}]\n',
        COMPOSE.replace("{env_file}", "[]").replace('"/components"', '"/components/NAME"'),
        COMPOSE.replace("{env_file}", "[]").replace("./components:", "./NAME:"),
    ],
    ids=["folder", "configuration", "in-mount", "mount-source"],
)
def test_an_impossible_path_is_reported_as_missing(tmp_path: Path, text: str, name: str) -> None:
    """The finding escapes the path, so a terminal can print it."""
    missing = [one for one in reported(tmp_path, text.replace("NAME", name)) if one.rule == "path-missing"]

    assert missing
    assert all(name in one.what for one in missing if "config.yaml" not in one.what)
    assert all(one.what.isprintable() for one in missing)


@pytest.mark.parametrize("name", [r"a\0b", r"a\ud800b"], ids=["nul", "lone-surrogate"])
def test_an_impossible_env_file_makes_the_environment_unknown(tmp_path: Path, name: str) -> None:
    """The doctor cannot tell which variables it would set."""
    assert "env-unset" not in names(reported(tmp_path, COMPOSE.replace("{env_file}", f'"{name}"')))
