"""The logs that a name selects."""

from __future__ import annotations

import pytest

from sidecart.kubernetes.logs import Source, selected
from sidecart.kubernetes.states import ContainerState, PodState, WorkloadState


def workload(name: str, pod: str) -> WorkloadState:
    """A workload with an app and a sidecar, and a container that has not run yet."""
    containers = tuple(
        ContainerState(each, True, 0, "", "", "", has_run)
        for each, has_run in (("app", True), ("daprd", True), ("late", False))
    )
    pods = (PodState(pod, "1", "Running", containers, False),)
    return WorkloadState("Deployment", name, "service", 1, True, 1, (), pods)


WORKLOADS = [workload("user", "user-1-a"), workload("user-two", "user-two-1-a")]
USER, USER_SIDECAR = Source("user", "user-1-a", "1", "app", 0), Source("user", "user-1-a", "1", "daprd", 0)
TWO = Source("user-two", "user-two-1-a", "1", "app", 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user", [USER]),
        ("user-1-a", [USER]),
        ("user-sidecar", [USER_SIDECAR]),
        ("user-1-a-sidecar", [USER_SIDECAR]),
        ("user-two", [TWO]),
        ("use", []),
    ],
)
def test_a_name_is_that_of_a_workload_or_a_pod(name: str, expected: list[Source]) -> None:
    """The beginning of another name selects nothing."""
    assert expected == selected(WORKLOADS, name)


def test_all_logs_have_the_names_of_processes() -> None:
    """The sidecar's ends as under the launcher; a container that has not run has no log."""
    found = [each.name for each in selected(WORKLOADS, None)]

    assert ["user-1-a", "user-1-a-sidecar", "user-two-1-a", "user-two-1-a-sidecar"] == found
