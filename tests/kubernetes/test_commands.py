"""The commands that work on a cluster, as the documentation writes them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sidecart.doctor.cluster import ENFORCE
from sidecart.kubernetes import names
from sidecart.kubernetes.forwards import running_state
from sidecart.kubernetes.requirements import DROPS, INJECTOR
from sidecart.launcher.dead_letters import DeadLetter, Filter, find_dead_letters
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY, app_ids, read_topics
from tests.full.documentation import documented
from tests.full.project_copy import foreground, wait_for_line
from tests.kubernetes import overlay as manifests
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.harms import Harms
from tests.kubernetes.shop import KubernetesShop

ON = " --kubernetes current"
STATUS = f"./sidecart status{ON}"
LOGS = f"./sidecart logs{ON}"
FOLLOWED = f"./sidecart logs gateway --follow{ON}"
DEAD_LETTERS = f"./sidecart dead-letters list{ON}"
DEMO = f"./sidecart demo{ON}"
DOCTOR = f"./sidecart doctor{ON}"
COMMANDS = (STATUS, LOGS, FOLLOWED, DEAD_LETTERS, DEMO, DOCTOR)
SECONDS = 120
FIRST_LINE = "keys of the token issuer"
"""The gateway logs it when it starts."""


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder of the project, as in a shell."""
    return subprocess.run(
        ["bash", "-c", command], cwd=root(), capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_the_status_names_every_pod_and_the_events_that_wait(shop: KubernetesShop) -> None:
    """All is ready, and nothing waits."""
    shop.until(lambda: run(STATUS).returncode == 0, "a status without a problem")

    done = run(documented(STATUS))

    assert (0, "") == (done.returncode, done.stderr)
    assert "gateway: ready" in done.stdout
    waiting = ", ".join([*(f"{app_id} 0" for app_id in app_ids() if app_id != GATEWAY), f"{GATEWAY}-0 0"])
    assert f"waiting events: {waiting}\n" in done.stdout
    shown = {pod["name"] for each in json.loads(run(f"{STATUS} --json").stdout)["workloads"] for pod in each["pods"]}
    assert {each["metadata"]["name"] for each in shop.kubectl.get("pods")["items"]} == shown
    assert all(name in done.stdout for name in shown)


def test_the_status_has_the_reason_of_a_restart(shop: KubernetesShop) -> None:
    """A killed app has the code of its signal."""
    Harms(shop).by_kind()["container-kill"]("billing")

    def ends() -> list[str]:
        workloads = {each["name"]: each for each in json.loads(run(f"{STATUS} --json").stdout)["workloads"]}
        return [end for pod in workloads["billing"]["pods"] for end in pod["ends"]]

    # the runtime reports an earlier kill of another process in the container as its reason
    shop.until(lambda: bool({"app: exit code 137", "app: OOMKilled"} & set(ends())), "the reason of the restart")
    shop.wait_all_ready()


def test_the_logs_name_the_pod_and_the_sidecar(shop: KubernetesShop) -> None:
    """A quiet app has no lines yet; one log needs no name."""
    every = run(f"{documented(LOGS)} --lines 2 --json")
    one = run(f"./sidecart logs user-sidecar --lines 1{ON}")
    none = run(f"./sidecart logs nothing{ON}")

    found = {json.loads(line)["process"] for line in every.stdout.splitlines()}
    pods = {each["metadata"]["name"] for app_id in app_ids() for each in shop.pods(app_id)}
    assert {f"{GATEWAY}-0", *(f"{pod}-sidecar" for pod in pods)} <= found
    assert 1 == len(one.stdout.splitlines())
    assert 1 == none.returncode
    assert "no such log; available: billing, billing-sidecar, gateway" in none.stderr


def test_followed_logs_continue_in_a_new_pod(shop: KubernetesShop, tmp_path: Path) -> None:
    """The stream of a pod that was deleted ends, and that of its successor begins."""
    log = tmp_path / "log"
    with foreground(root(), documented(FOLLOWED), log, env=os.environ, ends=(0, 130)) as process:
        wait_for_line(process, log, FIRST_LINE)
        known = log.read_text().count(FIRST_LINE)
        shop.kubectl("delete", "pod", f"{GATEWAY}-0")
        Deadline().until(lambda: log.read_text().count(FIRST_LINE) > known, SECONDS, log.read_text, 0.5)
    shop.wait_all_ready()


def test_the_demo_drives_the_shop(shop: KubernetesShop) -> None:
    """Both flows and both mails, through port-forwards."""
    done = run(documented(DEMO))

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.endswith("demo passed: every answer, both mails, and every final state\n")


@pytest.fixture
def letter(shop: KubernetesShop, cluster: Kubectl) -> Iterator[DeadLetter]:
    """A command that the User Service cannot process."""
    topic, made = "UserCreateRequested", str(uuid.uuid4())
    event = {"specversion": "1.0", "id": made, "type": topic, "source": read_topics()[topic].publisher, "data": {}}
    with running_state(cluster.within(names.NAMESPACE), Deadline()) as state:
        state.publish(GATEWAY, topic, json.dumps({**event, "subject": made, "correlationid": made}).encode(), "")
        selection = Filter((made,), settled=True)
        shop.until(lambda: any(find_dead_letters(state, selection)), "the dead letter")
        yield next(find_dead_letters(state, selection))


def test_dead_letters_are_listed_replayed_and_discarded(letter: DeadLetter) -> None:
    """The replay fails again, because the event is still malformed."""
    listed = run(documented(DEAD_LETTERS))
    assert (0, "") == (listed.returncode, listed.stderr)
    assert letter.id in listed.stdout

    shown = run(f"./sidecart dead-letters show {letter.id}{ON}")
    assert f"reason       {letter.reason}" in shown.stdout

    grouped = run(f"./sidecart dead-letters groups{ON}")
    assert letter.cause.id in grouped.stdout, grouped

    replayed = run(f"./sidecart dead-letters replay {letter.id}{ON}")
    assert letter.id in replayed.stdout
    assert "1 failed again" in replayed.stdout

    Deadline().until(lambda: letter.id in run(DEAD_LETTERS).stdout, SECONDS, lambda: "it did not fail again", 1)
    discarded = run(f"./sidecart dead-letters discard {letter.id}{ON}")
    assert discarded.stdout.startswith("discarded "), discarded
    assert letter.id not in run(DEAD_LETTERS).stdout
    audited = [json.loads(line) for line in run(f"./sidecart audit-trail --json --limit 2{ON}").stdout.splitlines()]
    assert ["discard", "replay"] == [each["action"] for each in audited]
    assert [letter.id] * 2 == [each["target"] for each in audited]


def test_the_doctor_finds_nothing(shop: KubernetesShop) -> None:
    """The cluster has what the files say."""
    done = run(documented(DOCTOR))

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert re.search(r"the cluster test queried: 0 dangers, 0 warnings, 0 notes\n$", done.stdout), done.stdout


def rules_found() -> set[str]:
    """Return the rules that the doctor names."""
    return {json.loads(line)["rule"] for line in run(f"{DOCTOR} --json").stdout.splitlines()}


@contextmanager
def without(kubectl: Kubectl, kind: str, name: str) -> Iterator[None]:
    """Delete an object during the block."""
    saved = kubectl("get", kind, name, "-o", "json")
    kubectl("delete", kind, name)
    try:
        yield
    finally:
        found = json.loads(saved)
        for each in ("resourceVersion", "uid", "creationTimestamp"):
            found["metadata"].pop(each, None)
        kubectl.apply(json.dumps(found))


@contextmanager
def unlabeled(kubectl: Kubectl) -> Iterator[None]:
    """Let the namespace accept every pod during the block."""
    kubectl("label", "namespace", names.NAMESPACE, f"{ENFORCE}=baseline", "--overwrite")
    try:
        yield
    finally:
        kubectl("label", "namespace", names.NAMESPACE, f"{ENFORCE}=restricted", "--overwrite")


@contextmanager
def patched(kubectl: Kubectl) -> Iterator[None]:
    """Let another app use a component during the block."""
    scopes = kubectl.get("components.dapr.io", "inbox")["scopes"]
    for wanted in ([*scopes, "stranger"], scopes):
        kubectl("patch", "components.dapr.io", "inbox", "--type=merge", "-p", json.dumps({"scopes": wanted}))
        if wanted is not scopes:
            yield


@contextmanager
def careless(kubectl: Kubectl) -> Iterator[None]:
    """Let the injector keep the capabilities of sidecars during the block."""
    inside = kubectl.within(names.CONTROL_PLANE_NAMESPACE)
    try:
        inside("set", "env", f"deployment/{INJECTOR}", f"{DROPS}=false")
        yield
    finally:
        inside("set", "env", f"deployment/{INJECTOR}", f"{DROPS}=true")
        inside("rollout", "status", f"deployment/{INJECTOR}", f"--timeout={SECONDS}s")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda cluster: without(cluster.within(names.NAMESPACE), "networkpolicy", "default-deny"), "not-applied"),
        (lambda cluster: without(cluster.within(names.NAMESPACE), "secret", "user-app-token"), "secret-missing"),
        (unlabeled, "pod-security-off"),
        (lambda cluster: patched(cluster.within(names.NAMESPACE)), "applied-differs"),
        (careless, "injector-keeps-capabilities"),
    ],
    ids=["network-policy", "secret", "pod-security", "scopes", "injector"],
)
def test_the_doctor_finds_a_weakened_cluster(
    shop: KubernetesShop, cluster: Kubectl, change: Callable[[Kubectl], AbstractContextManager[None]], rule: str
) -> None:
    """One rule for each control that was taken out."""
    with change(cluster):
        assert {rule} == rules_found()

    assert set() == rules_found()


def generations(shop: KubernetesShop) -> dict[str, int]:
    """Return the generation of each workload, which a change of its pods raises."""
    found = shop.kubectl.get("statefulset,deployment")["items"]
    return {each["metadata"]["name"]: each["metadata"]["generation"] for each in found}


def test_a_second_start_changes_nothing(shop: KubernetesShop, tmp_path: Path) -> None:
    """With the same settings it applies the same objects, and all is ready at once."""
    folder = manifests.kustomization(shop.overlay, tmp_path / "mine")
    before = generations(shop)

    done = run(
        f"./sidecart kubernetes up --context test --overlay {shop.overlay} --kustomization {folder} --no-build "
        "--no-forward"
    )

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert re.search(r"^  Secrets: \d+ unchanged$", done.stdout, re.MULTILINE), done.stdout
    assert before == generations(shop)
