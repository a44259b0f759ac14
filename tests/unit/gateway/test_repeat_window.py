"""How many repeated commands may be unanswered."""

from gateway.repeat_window import RepeatWindow


class Clock:
    """Moved by a test."""

    seconds = 0.0


def test_a_place_is_free_again_once_it_is_answered_or_its_time_is_over() -> None:
    """The oldest one first; one that is repeated again begins anew."""
    clock = Clock()
    window = RepeatWindow(2, 5.0, lambda: clock.seconds)
    window.add("a")
    clock.seconds = 1.0
    window.add("b")
    assert (0, 4.0) == (window.room, window.room_in)

    assert window.discard("b")
    assert not window.discard("b")
    assert (1, 0.0) == (window.room, window.room_in)

    window.add("b")
    clock.seconds = 2.0
    window.add("a")
    assert (0, 4.0) == (window.room, window.room_in)
    clock.seconds = 6.0
    assert (1, 0.0) == (window.room, window.room_in)
    clock.seconds = 7.0
    assert 2 == window.room
