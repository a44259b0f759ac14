"""The tables of the appendix, made of the results that are kept beside it.

    .venv/bin/python -m docs.appendices

A test compares the pages. A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench import soak_report, soak_samples
from bench.pages import PLACE
from sidecart.launcher.project import root
from sidecart.testkit.faults.report import Report, fault_table, table
from tests.kubernetes import rollout, usage

APPENDIX = root() / "docs" / "appendix"
PAGES = (
    APPENDIX / "reliability-results.md",
    APPENDIX / "kubernetes-results.md",
    root() / "docs" / "explanation" / "delivery-guarantees.md",
)
CLUSTER = APPENDIX / "kubernetes"
"""The reports of `./sidecart test-kubernetes --reports`."""
SOAKS = APPENDIX / "soak"
"""The samples of `./sidecart soak`."""
KILLS, ON_CLUSTER = "kills", "kubernetes"


def reports() -> list[Report]:
    """Return the kept reports of fault runs."""
    files = [*(APPENDIX / "reliability").glob("*.json"), *CLUSTER.glob(f"{ON_CLUSTER}-*.json")]
    return [Report.read(path) for path in sorted(files)]


def sums(runs: Sequence[Report]) -> str:
    """Return the sums of all runs, in Markdown."""
    rows = {
        "faults": f"{sum(each.faults for each in runs):,}",
        "requests": f"{sum(each.audit.valid for each in runs):,}",
        "accepted": f"{sum(each.audit.accepted for each in runs):,}",
        "lost": sum(each.audit.lost for each in runs),
        "paid twice": sum(each.audit.counts["paid twice"] for each in runs),
        "repeated emails": sum(each.audit.repeats for each in runs),
    }
    lines = [f"| all {len(runs)} runs | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Return each table by the name that the page gives it."""
    kills = [each for each in reports() if each.kind == KILLS and each.gateways == 1]
    gateways = [each for each in reports() if each.kind == KILLS and each.gateways > 1]
    soaks = [soak_samples.read(path) for path in sorted(SOAKS.glob("*.json"))]
    cluster = [each for each in reports() if each.kind == ON_CLUSTER]
    others = [each for each in reports() if each.kind not in (KILLS, ON_CLUSTER)]
    rollouts = [*rollout.read("rollouts-*.json", CLUSTER), *rollout.read("autoscaling-*.json", CLUSTER)]
    return {
        "sums of kills": sums(kills),
        "runs of kills": table(kills),
        "targets of kills": fault_table(kills),
        "sums of three gateways": sums(gateways),
        "runs of three gateways": table(gateways),
        "soaks": "\n\n".join(map(soak_report.table, soaks)),
        "runs of other kinds": table(others),
        "runs on a cluster": table(cluster),
        "targets on a cluster": fault_table(cluster),
        "rollouts": rollout.table(rollouts),
        "usage": "\n\n".join(map(usage.table, usage.read("usage-*.json", CLUSTER))),
    }


def filled(page: str) -> str:
    """Return a page with the present tables."""
    made = tables()
    return PLACE.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", page)


def main() -> int:
    """Write the tables into the pages; return the exit code."""
    for path in PAGES:
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
