"""The limit of repeated commands without an answer."""

from sidecart.edge.repeat_window import RepeatWindow


class Clock:
    """A clock that the test controls."""

    seconds = 0.0


def test_an_answer_or_the_end_of_its_time_makes_room() -> None:
    """The oldest command expires first; a command that is repeated again starts anew."""
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
