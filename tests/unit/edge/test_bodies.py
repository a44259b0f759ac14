"""The media type of a body is JSON in UTF-8, and any header is checked at once."""

from __future__ import annotations

import time

import pytest

from sidecart.edge.bodies import _check_type
from sidecart.edge.problems import Problem

CPU_SECONDS_MAX = 0.5
QUOTED = 'application/json; x="' + ";" * 60_000
LONG = (
    QUOTED,
    QUOTED + '"',
    f"application/json; charset*{'9' * 5_000}=x",
    "application/json" + ";charset=utf-8" * 4_000,
)


@pytest.mark.parametrize(
    "header",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; odata=full; charset=utf8",
    ],
)
def test_json_in_utf_8_is_accepted(header: str) -> None:
    """With other parameters, too."""
    _check_type([header], ["identity"])
    _check_type([header], [])


@pytest.mark.parametrize(
    ("types", "encodings"),
    [
        ([], []),
        (["text/plain"], []),
        (["application/json; charset=latin-1"], []),
        (["application/json; charset=utf-8; charset=utf-16"], []),
        (["application/json", "text/plain"], []),
        (["application/json", "application/json"], []),
        (["application/json"], ["gzip"]),
        (["application/json"], ["identity", "gzip"]),
        (["application/json"], ["identity, gzip"]),
    ],
)
def test_another_type_or_two_types_are_rejected(types: list[str], encodings: list[str]) -> None:
    """Of two headers, a proxy could read the other one."""
    with pytest.raises(Problem) as refused:
        _check_type(types, encodings)
    assert 415 == refused.value.status


@pytest.mark.parametrize("header", LONG, ids=range(len(LONG)))
def test_a_long_header_takes_no_time(header: str) -> None:
    """While a header is parsed, the gateway serves no one: the standard library takes seconds."""
    started = time.process_time()

    _check_type([header], [])

    assert time.process_time() - started < CPU_SECONDS_MAX
