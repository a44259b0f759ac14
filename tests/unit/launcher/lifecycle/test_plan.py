"""The plan of a start is computed from the options alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle import plan as module
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER, choose_ports, plan_of
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import metrics_of
from tests.e2e import component_files


def test_a_plan_has_each_replica_and_each_server_once(tmp_path: Path) -> None:
    """One server may be broker and store."""
    plan = plan_of(Options("redis", "redis", folder=tmp_path, gateways=2, replicas={"order": 2}))
    other = plan_of(Options("rabbitmq", "postgres", folder=tmp_path))

    assert {*app_ids(), "gateway-1", "order-1"} == set(plan.replicas)
    assert (["REDIS_HOST"], ["AMQP_URL", "POSTGRES_URL"]) == (list(plan.servers), list(other.servers))
    assert ("proxy", "gateway") == (plan.entrance, other.entrance)
    assert plan.tokens["order"] != other.tokens["order"]
    assert plan.page_key != other.page_key


def test_only_a_broker_that_keeps_acknowledged_events_has_a_trimmer(tmp_path: Path) -> None:
    """Its metrics have a port; a folder of components has no broker that the launcher knows."""
    redis, rabbitmq = (plan_of(Options(broker, "redis", folder=tmp_path)) for broker in ("redis", "rabbitmq"))

    assert (True, False) == (redis.has_trimmer, rabbitmq.has_trimmer)
    assert (True, False) == tuple(metrics_of(TRIMMER) in choose_ports(plan) for plan in (redis, rabbitmq))


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({"broker": "pigeon"}, "there is no broker pigeon: choose from redis, rabbitmq"),
        ({"store": "paper"}, "there is no store paper: choose from redis, postgres"),
        ({"replicas": {"pigeon": 2}}, "there is no service pigeon"),
        ({"gateways": 21}, "21 replicas of gateway"),
        ({"replaced": {"none": Path("none")}}, "there is no app none"),
        ({"components": Path("none")}, "none is not a folder of component files"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, object], output: str, tmp_path: Path) -> None:
    """The message lists the valid names, and nothing is created."""
    with pytest.raises(LaunchError, match=output):
        plan_of(Options(folder=tmp_path, **options))  # type: ignore[arg-type]  # each case has fitting values

    assert [] == list(tmp_path.iterdir())


def test_the_resources_follow_the_choice_of_broker_and_store(tmp_path: Path) -> None:
    """A folder of components replaces both; explicit folders replace all."""
    folder = component_files.write(tmp_path / "mine", "redis", "redis")
    settings = {component_files.BROKER: "b:1", component_files.STORE: "s:1", **component_files.NO_LOGIN}
    chosen = plan_of(Options("rabbitmq", "postgres", folder=tmp_path))
    mine = plan_of(Options(folder=tmp_path, components=folder, settings=settings))
    explicit = plan_of(Options(folder=tmp_path, resources=(tmp_path,)))

    names = [each.name for each in chosen.resources(chosen.apps["gateway"])]
    assert ["policies", "rabbitmq", "postgres"] == names
    assert ["policies", "mine"] == [each.name for each in mine.resources(mine.apps["gateway"])]
    assert (tmp_path,) == explicit.resources(explicit.apps["gateway"])
    assert (None, {}, settings) == (mine.broker, mine.servers, mine.component_env)


def test_without_a_known_broker_there_is_no_live_page(tmp_path: Path) -> None:
    """The page counts events at the broker."""
    folder = component_files.write(tmp_path / "mine", "redis", "redis")
    settings = {component_files.BROKER: "b:1", component_files.STORE: "s:1", **component_files.NO_LOGIN}
    plan = plan_of(Options(folder=tmp_path, components=folder, settings=settings, monitor=True))

    assert not plan.has_monitor
    assert "monitor" not in choose_ports(plan)


def test_every_process_has_a_port_of_its_own(tmp_path: Path) -> None:
    """The mail catcher has two, and one is shown for it."""
    ports = choose_ports(plan_of(Options(folder=tmp_path, monitor=True)))

    assert ports.pop(MAIL_CATCHER) == ports["mail-http"]
    assert len(ports) == len(set(ports.values()))
    assert {"monitor", "mail-smtp", *app_ids(), *(f"{app_id}-metrics" for app_id in app_ids())} <= set(ports)


def test_a_project_without_a_mail_server_has_no_mail_catcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's pyproject.toml names the setting, which may name an external server."""
    assert plan_of(Options(folder=tmp_path)).has_mail_catcher
    assert not plan_of(Options(folder=tmp_path, settings={"SMTP_URL": "smtp://here"})).has_mail_catcher
    monkeypatch.setattr(module, "declared_text", lambda name: "")
    plan = plan_of(Options(folder=tmp_path))

    assert not plan.has_mail_catcher
    assert [] == [name for name in choose_ports(plan) if name.startswith("mail")]
