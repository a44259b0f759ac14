"""Mutants: a project without one safeguard, under a load and faults that the complete one survives.

The auditor must find each missing safeguard. Each mutant runs with several seeds, and the complete
project with the first of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.patches import program
from sidecart.testkit.faults.trial import Trial

RunTrial = Callable[[Trial, Path], Audit]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One removed safeguard, and the trial in which its absence shows."""

    trial: Callable[[int], Trial]
    """Returns the trial of the complete project with a seed."""
    expected: str
    """The finding that the auditor must report; it may report more."""
    app_ids: tuple[str, ...] = ()
    """The apps with a patched program; empty if the mutant changes the YAML only."""
    patch: str = ""
    folders: tuple[Path, ...] | None = None
    """The component folders of the mutant, if it changes the YAML."""

    def trial_without(self, seed: int, folder: Path) -> Trial:
        """Return the trial without the safeguard; the patched programs are in the folder."""
        replaced = {each: program(folder / f"mutant-{each}", each, self.patch) for each in self.app_ids}
        return replace(self.trial(seed), replaced=replaced, resources=self.folders)


def judge(mutants: Mapping[str, Mutant], seeds: Sequence[int], run: RunTrial, say: Say) -> tuple[list[str], int]:
    """Run the mutants; return a table in Markdown and the number of unexpected results."""
    lines, missed = ["| removed safeguard | seed | found |", "|---|---|---|"], 0
    for name, mutant in mutants.items():
        for seed in seeds:
            # the complete project runs once, for comparison
            for taken_out in (True, False) if seed == seeds[0] else (True,):
                say(f"{'without' if taken_out else 'with'} {name}, seed {seed}")
                with tempfile.TemporaryDirectory(prefix="sidecart-mutants-") as text:
                    folder = Path(text)
                    findings = run(
                        mutant.trial_without(seed, folder) if taken_out else mutant.trial(seed), folder
                    ).findings
                for finding in findings:
                    say(f"  FOUND {finding}")
                seen = any(mutant.expected in finding for finding in findings)
                missed += not seen if taken_out else bool(findings)
                found = "; ".join(finding.partition(":")[0] for finding in findings) or "nothing"
                lines.append(f"| {name if taken_out else f'nothing (the trial of: {name})'} | {seed} | {found} |")
    return lines, missed
