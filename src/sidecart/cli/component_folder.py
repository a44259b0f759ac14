"""Checks the folder of `sidecart run --components` with the doctor's rules."""

from __future__ import annotations

from sidecart.doctor import targets
from sidecart.doctor.findings import Severity
from sidecart.doctor.rules import judge
from sidecart.doctor.starts import Environment, Knowledge
from sidecart.launcher.components import LEFT_OUT, SET_BY_LAUNCHER
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import Report, System
from sidecart.launcher.topics import GATEWAY


def check(system: System, report: Report) -> None:
    """Report the doctor's findings about the sidecars' files, and the checks that are left out.

    Raises LaunchError if a finding is a danger.
    """
    folders = system.plan.resources(system.plan.apps[GATEWAY])
    variables = {**system.plan.component_env, **dict.fromkeys(SET_BY_LAUNCHER, "set by the launcher")}
    environment = Environment(variables, Knowledge.WHOLE)
    findings = [one for config in targets.named(folders, environment) for one in judge(config)]
    for one in sorted(findings, key=lambda each: (each.place.file, each.place.line)):
        report(f"{one.severity} {one.place}: {one.what} [{one.rule}]\n    fix: {one.fix.strip()}")
    if any(one.severity is Severity.DANGER for one in findings):
        raise LaunchError(
            f"{system.options.components} can lose events or prevent the start: fix each danger above, or silence its "
            "rule with the comment `# doctor: ignore RULE: the reason`"
        )
    for each in LEFT_OUT:
        report(f"not checked: {each}")
