"""The policy scan: the findings of kube-score in manifests that policy.yaml does not excuse."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sidecart.launcher.deadline import Deadline
from tests.kubernetes.cluster import programs, versions

FILE = Path(__file__).parent / "policy.yaml"
OPTIONS = (
    *("--output-format", "json", "--all-default-optional"),
    *("--kubernetes-version", f"v{versions.KUBERNETES.rpartition('.')[0]}"),
    # the exceptions are in one file, and not in the manifests
    *("--disable-ignore-checks-annotations", "--disable-optional-checks-annotations"),
)
GOOD = 10
"""The best of kube-score's grades: a warning is a finding too."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check that an object does not pass."""

    check: str
    place: str
    """The kind and the name of the object."""
    summary: str

    def __str__(self) -> str:
        return f"{self.place}: {self.check}: {self.summary}"


@dataclass(frozen=True, slots=True)
class Exceptions:
    """The checks that some or all objects need not pass."""

    checks: Mapping[str, str]
    """Maps a check to the reason why no object needs to pass it."""
    objects: Mapping[str, Mapping[str, str]]
    """Maps a check to the objects that need not pass it, and each of them to the reason."""

    def excuse(self, found: Finding) -> bool:
        """Return whether a finding is one that the file expects."""
        return found.check in self.checks or found.place in self.objects.get(found.check, {})


@cache
def exceptions() -> Exceptions:
    """Return the exceptions of the file."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return Exceptions(content["checks"], content["objects"])


def checks() -> set[str]:
    """Return the names of kube-score's checks."""
    return {name for name, *_ in csv.reader(_run("list").splitlines())}


def findings(manifests: str) -> list[str]:
    """Return a line for each finding in these manifests that the file does not excuse."""
    return sorted(str(each) for each in scan(manifests) if not exceptions().excuse(each))


def scan(manifests: str) -> list[Finding]:
    """Return all findings in these manifests, by all checks."""
    scanned = json.loads(_run("score", *OPTIONS, "-", manifests=manifests))
    assert scanned, "kube-score found no object"
    return [found for each in scanned for found in _findings(each)]


def _findings(scanned: Mapping[str, Any]) -> Iterable[Finding]:
    place = f"{scanned['type_meta']['kind']}/{scanned['object_meta']['name']}"
    for each in scanned["checks"]:
        if not each["skipped"] and each["grade"] < GOOD:
            summaries = dict.fromkeys(comment["summary"] for comment in each["comments"] or ())
            yield Finding(each["check"]["id"], place, ", ".join(summaries))


def _run(*words: str, manifests: str = "") -> str:
    program = programs.KUBE_SCORE.find(print, Deadline())
    done = subprocess.run([program, *words], input=manifests, capture_output=True, text=True, check=False)
    assert done.stdout, f"kube-score {words[0]}: {done.stderr}"  # its code is 1 if it finds something
    return done.stdout
