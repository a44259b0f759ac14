"""What the traps do not show: when a rule must not speak, and how a person tells the doctor to be silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor.findings import Finding, Severity, in_order
from cli.doctor.rules import judge
from cli.doctor.starts import Environment
from cli.doctor.targets import named

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
    - {name: concurrency, value: "32"}
"""
FOREVER = RESILIENCY.format(name="forever", policy="constant", targets="{inbox: {inbound: {retry: forever}}}")


def reported(folder: Path, *texts: str, environment: dict[str, str] = ADDRESSES) -> list[Finding]:
    """What the doctor says of files with these texts in one folder."""
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text, encoding="utf-8")
    return in_order([one for config in named([folder], Environment(environment)) for one in judge(config)])


def names(findings: list[Finding]) -> list[str]:
    """Their rules."""
    return [one.rule for one in findings]


def test_a_sound_folder_is_sound(tmp_path: Path) -> None:
    """Nothing to say."""
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
def test_a_default_policy_will_do(tmp_path: Path, name: str) -> None:
    """For a component that is no target."""
    assert [] == reported(tmp_path, READER, RESILIENCY.format(name=name, policy="constant", targets="{}"))


def test_a_target_takes_no_default(tmp_path: Path) -> None:
    """One that is there for its outbound calls only has no inbound retry, whatever the defaults are."""
    policy = RESILIENCY.format(name="DefaultRetryPolicy", policy="constant", targets="{inbox: {outbound: {}}}")

    assert ["redis-no-inbound-retry"] == names(reported(tmp_path, READER, policy))


def test_a_dead_letter_topic_keeps_what_is_given_up(tmp_path: Path) -> None:
    """Then the end of retries is no loss, and there is only the note."""
    subscription = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {pubsubname: inbox, "
    subscription += "topic: t, routes: {default: /t}, deadLetterTopic: dead}\n"

    assert ["dead-letter-topic-keeps-no-reason"] == names(reported(tmp_path, READER, subscription))


def test_an_exponential_policy_does_no_harm_where_the_broker_keeps_the_event(tmp_path: Path) -> None:
    """RabbitMQ gets it back."""
    reader = READER.replace("pubsub.redis", "pubsub.rabbitmq").replace("concurrency", "prefetchCount")
    reader = reader.replace("redisHost, envRef: REDIS_HOST", "connectionString, envRef: AMQP_URL")
    reader += "    - {name: deletedWhenUnused, value: false}\n    - {name: requeueInFailure, value: true}\n"

    assert [] == reported(tmp_path, reader, FOREVER.replace("constant", "exponential"))


def test_names_of_settings_are_compared_without_case(tmp_path: Path) -> None:
    """As daprd's decoder does."""
    assert [] == reported(tmp_path, READER.replace("concurrency", "Concurrency"), FOREVER)


def test_what_comes_from_elsewhere_is_not_judged(tmp_path: Path) -> None:
    """A secret's value is not in the file."""
    reader = READER.replace('concurrency, value: "32"', "processingTimeout, secretKeyRef: {name: a, key: b}")

    assert ["redis-concurrency-shared"] == names(reported(tmp_path, reader, FOREVER))


def test_a_variable_that_is_not_set_here_may_be_set_where_the_sidecar_runs(tmp_path: Path) -> None:
    """So it is a warning; in a compose file, which says all, it would be a danger."""
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
    ("env_file", "expected"), [("[]", [("env-unset", Severity.DANGER)]), ("[secret.env]", [])], ids=["whole", "in part"]
)
def test_a_compose_file_says_all_unless_a_file_of_it_is_not_here(
    tmp_path: Path, env_file: str, expected: list[tuple[str, Severity]]
) -> None:
    """What is in a secret's file that is not in the repository cannot be known."""
    (tmp_path / "components").mkdir()
    for name, text in (("inbox", READER), ("resiliency", FOREVER), ("config", CONFIGURATION)):
        (tmp_path / "components" / f"{name}.yaml").write_text(text, encoding="utf-8")

    assert expected == [(one.rule, one.severity) for one in reported(tmp_path, COMPOSE.replace("{env_file}", env_file))]


def test_a_rule_is_ignored_with_a_reason(tmp_path: Path) -> None:
    """In that file, and only that rule."""
    reader = READER.replace('    - {name: concurrency, value: "32"}\n', "")
    silent = "# doctor: ignore redis-concurrency-shared: one topic, and its events are quick\n" + reader

    assert ["redis-concurrency-shared"] == names(reported(tmp_path, reader, FOREVER))
    assert [] == reported(tmp_path, silent, FOREVER)


def test_a_rule_is_not_ignored_without_a_reason(tmp_path: Path) -> None:
    """The comment is told, and the rule speaks."""
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
def test_shapes_that_nobody_means_raise_nothing(tmp_path: Path, text: str) -> None:
    """Whatever is said of them, it is said as findings."""
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
def test_a_component_that_is_none_is_named(tmp_path: Path, text: str, rule: str) -> None:
    """One without a spec, one whose settings are no list, one of a version that there is not."""
    assert rule in names(reported(tmp_path, text))


def test_other_peoples_yaml_is_left_alone(tmp_path: Path) -> None:
    """A Kubernetes object, a workflow."""
    deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: order}\nspec: {replicas: 1}\n"

    assert [] == reported(tmp_path, deployment, "on: push\njobs: {}\n")


@pytest.mark.parametrize("name", [r"a\0b", r"a\ud800b"], ids=["a NUL", "half a character"])
@pytest.mark.parametrize(
    "text",
    [
        'version: 1\napps: [{appID: order, appPort: 1, resourcesPath: "NAME"}]\n',
        'version: 1\napps: [{appID: order, appPort: 1, configFilePath: "NAME"}]\n',
        COMPOSE.replace("{env_file}", "[]").replace('"/components"', '"/components/NAME"'),
        COMPOSE.replace("{env_file}", "[]").replace("./components:", "./NAME:"),
    ],
    ids=["folder", "configuration", "in a mount", "of a mount"],
)
def test_a_path_that_no_file_can_have_is_missing(tmp_path: Path, text: str, name: str) -> None:
    """It is named so that a terminal can show it."""
    missing = [one for one in reported(tmp_path, text.replace("NAME", name)) if one.rule == "path-missing"]

    assert missing
    assert all(name in one.what for one in missing if "config.yaml" not in one.what)
    assert all(one.what.isprintable() for one in missing)


@pytest.mark.parametrize("name", [r"a\0b", r"a\ud800b"], ids=["a NUL", "half a character"])
def test_a_file_of_variables_that_no_file_can_be_is_not_read(tmp_path: Path, name: str) -> None:
    """What it would set cannot be known."""
    assert "env-unset" not in names(reported(tmp_path, COMPOSE.replace("{env_file}", f'"{name}"')))
