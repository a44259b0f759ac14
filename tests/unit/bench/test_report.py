"""The tables: the right figure in the right row."""

from collections import Counter

from bench.load import Load
from bench.measure import Plan, Result, Round
from bench.report import report


def load(milliseconds: float, answers: int = 10, seconds: float = 1.0) -> Load:
    """Answers that all took as long."""
    return Load([milliseconds] * answers, Counter({201: answers}), seconds)


def rounds(*held: int) -> list[Round]:
    """One round for each number of held orders a second."""
    return [
        Round(
            floor_alone=load(2),
            floor_in_turn=load(1),
            floor_held=load(9, answers=1_000),
            order_alone=load(3),
            order_in_turn=load(4),
            mail_alone=load(20),
            order_held=load(30, answers=each),
            completed_per_second=each / 2,
            cpu_ms_per_order={"order": 1.5, "valkey": 0.25},
        )
        for each in held
    ]


def test_ratios_are_to_the_floor_of_the_same_round_and_medians_of_the_rounds() -> None:
    """One odd round changes nothing."""
    result = Result("redis", Plan(), rounds(200, 300, 999), {"order": 77.4}, Counter({201: 5, 202: 1}))

    assert (1.5, 4.0, 0.3, 0.15) == (
        result.p50_ratio,
        result.in_turn_ratio,
        result.held_ratio,
        result.completed_ratio,
    )
    text = report([result])
    assert "| held orders, 64 held | 300 orders/s |" in text
    assert "| completed orders (to the accepted mail) | 150 orders/s |" in text
    assert "| orders answered 201 / otherwise | 5 / 1 |" in text
    assert "| all | 1.75 |" in text
    assert "| order | 77 |" in text
