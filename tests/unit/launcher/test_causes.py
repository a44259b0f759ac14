"""A cause is a reason without its values; different mistakes stay different causes."""

from __future__ import annotations

import time

import msgspec
import pytest

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import parse
from sidecart.launcher.causes import REASON_CHARACTERS_MAX, cause_of, normalized

FIRST, SECOND = "019bc0fd-89c0-78c9-9e0d-a0c3d985694a", "A5587059-1482-54C8-80FD-84165C5773C0"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (f"there is no notification:{FIRST}", f"there is no notification:{SECOND}", "there is no notification:<id>"),
        ("the event has 1048577 bytes", "the event has 2000000 bytes", "the event has <n> bytes"),
        ("unexpected type: 'OrderX'", 'unexpected type: "It\'s"', "unexpected type: <text>"),
        ("550 5.1.1 <ann@example.com> unknown", "550 5.1.1 <b.b+c@x.example> unknown", "550 5.1.1 <<address>> unknown"),
        (
            "refused: 550: (550, '5.1.1 no user ann', 'ann@example.com')",
            "refused: 550: (550, '5.1.1 who is bob?', 'bob@example.com')",
            "refused: 550: (550, 5.1.1 <text>, <text>)",
        ),
        (
            "refused: 554: (554, 'spam 5.7.1')",
            "refused: 554: (554, '4.4.4.4 is listed')",
            "refused: 554: (554, <text>)",
        ),
        (
            "the reply address is no gateway: 'kk0'",
            r"""the reply address is no gateway: 'it\'s "5"\\'""",
            "the reply address is no gateway: <text>",
        ),
        ("no gateway: '5.1.1 a'", "no gateway: '5.1.2'", "no gateway: <text>"),
        ("Invalid enum value 'kk'0 9'", "Invalid enum value 'a'b'", "Invalid enum value <text>"),
        ("the store refuses a write: 500", "the store refuses a write: 500", "the store refuses a write: 500"),
        ("malformed: 450 bytes of 2.1.3", "malformed: 550 bytes of 2.1.4", "malformed: <n> bytes of <n>"),
        ("order 404, 404 and 5.5.55.5", "order 501, 502 and 5.5.55.6", "order <n>, <n> and <n>"),
        ("late since 2026-01-15T09:30:00.007Z", "late since 2025-12-01T00:00:00+02:00", "late since <time>"),
        ("hash 68a9064a3a7e720fc4eff6eb", "hash 0000064a3a7e720fc4eff600", "hash <id>"),
        ("at `$.data.items[3].quantity`", "at `$.data.items[17].quantity`", "at `$.data.items[<n>].quantity`"),
        ("a\n  b -5", "a b 3.25", "a b <n>"),
    ],
)
def test_values_make_no_difference(one: str, other: str, expected: str) -> None:
    """Ids, numbers, times, addresses and quoted texts become placeholders; codes stay."""
    assert (expected, expected) == (normalized(one), normalized(other))
    assert cause_of("order", "OrderPaid", one).id == cause_of("order", "OrderPaid", other).id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Expected `str`, got `int` - at `$.data.name`", "Expected `str`, got `int` - at `$.data.email`"),
        ("Expected `str`, got `int`", "Expected `str`, got `null`"),
        ("sha256 differs", "md5 differs"),
        ("refused: 550: (550, '5.1.1 no', 'a@b.c')", "refused: 554: (554, '5.7.1 spam', 'a@b.c')"),
        ("refused: 550: (550, '5.1.1 no', 'a@b.c')", "refused: 550: (550, '5.7.1 no', 'a@b.c')"),
        ("550 5.1.1 unknown", "550 5.1.6 unknown"),
        ("550 unknown: 550", "550 unknown: 551"),
        ("a user's order wasn't placed", "a user's order wasn't paid"),
    ],
)
def test_words_and_fields_make_a_difference(one: str, other: str) -> None:
    """Types and fields in backquotes are the cause; an apostrophe quotes nothing."""
    assert cause_of("order", "OrderPaid", one).id != cause_of("order", "OrderPaid", other).id


ODD = [
    "kk{0}",
    "550",
    "{0} {0}",
    "5.1.{0} x",
    "it's {0}",
    'a "{0}"',
    "' \" {0}",
    "\\' {0}",
    "{0}\\",
    "a: 450: {0}",
    "\n{0}'",
]


@pytest.mark.parametrize("attribute", ["type", "source", "replyto"])
def test_a_value_of_an_event_makes_no_group(attribute: str) -> None:
    """Any client can choose it, so one mistake would fill all groups."""
    good = {"specversion": "1.0", "id": FIRST, "type": "Lamp", "source": "lamps", "correlationid": FIRST, "data": {}}
    reasons = []
    for value in [text.format(number) for text in ODD for number in range(60)]:
        with pytest.raises(PermanentError) as raised:
            parse("Lamp", msgspec.json.encode(good | {attribute: value}), "lamps")
        reasons.append(raised.value.reason)

    assert "not a CloudEvent" not in reasons[0]
    assert [reasons[0].rpartition(": ")[0].replace("'lamps'", "<text>").replace("'Lamp'", "<text>") + ": <text>"] == [
        *{normalized(each) for each in reasons}
    ]


def test_the_service_and_the_topic_belong_to_the_cause() -> None:
    """The same reason may have another cause elsewhere."""
    ids = {
        cause_of(service, topic, "why").id for service in ("order", "user") for topic in ("OrderPaid", "UserCreated")
    }
    assert 4 == len(ids)


def test_an_id_is_stable() -> None:
    """A command of yesterday has the same group; a change of the rules changes this test."""
    assert "a7c21afb49" == cause_of("order", "OrderPaid", "malformed data: 7").id


@pytest.mark.parametrize(
    "text",
    [
        "'" * 1_000,
        '"' * 999,
        "' \" " * 250,
        "'\\" * 500,
        "\\" * 999 + "'",
        "'a" * 500,
        "a." * 500,
        "1" * 1_000,
        "a" * 1_000 + "@",
        "(550" * 250,
        ": 550 5.1.1" * 90,
    ],
)
def test_a_hostile_reason_takes_no_time(text: str) -> None:
    """Any client can choose parts of a reason."""
    started = time.perf_counter()
    found = [normalized(text) for _ in range(20)]

    assert time.perf_counter() - started < 1.0
    assert len(found[0]) <= REASON_CHARACTERS_MAX
