"""Tests of the table of attacks: a result comes from the report of a test, and nothing else."""

from __future__ import annotations

import pytest

from tests.attack_table import ATTACK, MUTANT, Trial, read, summary, table, without_mutant


def trial(outcome: str, kind: str = ATTACK, control: str = "signature") -> Trial:
    """Return the trial of one attack, or of its mutant."""
    return Trial(kind, "tokens", "a forged token", control, outcome)


REPORT = """<testsuites><testsuite>
<testcase name="a"><properties><property name="group" value="tokens"/><property name="name" value="a forged token"/>
<property name="control" value="signature"/><property name="kind" value="attack"/></properties>{}</testcase>
<testcase name="b"><failure/></testcase></testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("content", "outcome"),
    [("", "passed"), ("<failure/>", "failed"), ("<error/>", "failed"), ("<skipped/>", "skipped")],
)
def test_a_report_is_read(content: str, outcome: str) -> None:
    """Tests that are no attacks are left out, and an error counts as a failure."""
    assert [trial(outcome)] == read(REPORT.format(content))


def test_the_variants_of_an_attack_are_one_line() -> None:
    """One variant that succeeded shows in it; a broker without the attack has a dash."""
    passed, failed = trial("passed"), trial("failed")
    lines = table({"redis": [passed, failed, trial("passed", MUTANT)], "rabbitmq": [trial("failed", MUTANT)]})

    assert [
        ["attack", "control", "variants", "redis", "rabbitmq"],
        ["tokens: a forged token", "signature", "2", "SUCCEEDED (1)", "-"],
        [],
        ["mutant", "control", "variants", "redis", "rabbitmq"],
        ["tokens: a forged token", "without signature", "1", "found", "NOT FOUND (1)"],
    ] == [[word.strip() for word in line.split("  ") if word] for line in lines]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (("passed", "passed"), "1 attacks, 0 successful, 0 not run; 1 mutants, 1 found"),
        (("failed", "passed"), "1 attacks, 1 successful, 0 not run; 1 mutants, 1 found"),
        (("skipped", "failed"), "1 attacks, 0 successful, 1 not run; 1 mutants, 0 found"),
        (("passed", "skipped"), "1 attacks, 0 successful, 0 not run; 1 mutants, 0 found"),
    ],
)
def test_the_summary_counts_lines(outcomes: tuple[str, str], words: str) -> None:
    """A test that did not run is neither a refused attack nor a found mutant."""
    attack, mutant = outcomes

    assert words == summary({"redis": [trial(attack), trial(mutant, MUTANT)]})


def test_a_control_without_a_mutant_is_named() -> None:
    """So that none is forgotten."""
    trials = [trial("passed"), trial("passed", MUTANT), trial("passed", control="another")]

    assert ["another"] == without_mutant({"redis": trials})
