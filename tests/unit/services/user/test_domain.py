"""The user: the first command for an address wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.processor import Step
from services.user import domain
from services.user.domain import Registration, User
from services.user.events import UserCreated, UserCreateRejected, UserCreateRequested
from tests.unit.services.sample_events import ANOTHER, COMMAND, OTHER, USER, received

ASKED = UserCreateRequested(USER, "Ann@example.com", "Ann")
ANN = Registration(USER, "Ann@example.com", "Ann", COMMAND)
CREATED = UserCreated(USER, "Ann@example.com", "Ann")


def test_the_first_who_asks_is_registered() -> None:
    """The record by address, the record for reads, and the fact."""
    step = domain.step(None, None, received(ASKED))

    assert Step(ANN, {f"user:{USER}": User(USER, "Ann@example.com", "Ann")}, (CREATED,)) == step


def test_the_same_command_again_is_answered_again_and_changes_nothing() -> None:
    """From state: also when the redelivery is all that is left."""
    step = domain.step(ANN, User(USER, "Ann@example.com", "Ann"), received(ASKED))

    assert Step(ANN, {}, (CREATED,)) == step


def test_another_body_under_the_same_key_is_refused_as_such() -> None:
    """The user_id comes from the key, so it is the same one."""
    step = domain.step(ANN, None, received(UserCreateRequested(USER, "ann@example.com", "Anna"), ANOTHER))

    assert Step(ANN, {}, (UserCreateRejected(USER, "key_reused"),)) == step


def test_somebody_elses_address_is_taken() -> None:
    """The refusal names who was refused, not who holds it."""
    step = domain.step(ANN, None, received(UserCreateRequested(OTHER, "ANN@example.com", "Bob"), ANOTHER))

    assert Step(ANN, {}, (UserCreateRejected(OTHER, "email_taken"),)) == step


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("Ann@Example.COM", "email:ann@example.com"),
        ("straße@example.com", "email:strasse@example.com"),
        ("a||b@example.com", "email:a%7C%7Cb@example.com"),
        ("a%7Cb@example.com", "email:a%257cb@example.com"),
    ],
)
def test_the_key_is_the_folded_address_without_pipes(email: str, expected: str) -> None:
    """A store's key may not hold `||`, and no two addresses share a key by escaping."""
    assert expected == domain.key(UserCreateRequested(USER, email, "Ann"))


WANTED = st.tuples(
    st.builds(
        UserCreateRequested,
        st.sampled_from([USER, OTHER]),
        st.sampled_from(["ann@example.com", "Ann@Example.com", "bob@example.com"]),
        st.sampled_from(["Ann", "Bob"]),
    ),
    st.sampled_from([COMMAND, ANOTHER]),
)


@given(st.lists(WANTED, max_size=20))
def test_any_order_and_any_repetition_gives_each_address_to_one(wanted: list[tuple[UserCreateRequested, str]]) -> None:
    """Whoever asks first has it; he is told so each time that he asks, and everybody else is refused each time."""
    records: dict[str, Registration] = {}
    secondaries: dict[str, User] = {}
    for event, command_id in wanted:
        key = domain.key(event)
        before = records.get(key)
        step = domain.step(before, secondaries.get(domain.secondary_key(event)), received(event, command_id))
        assert step.state is not None
        assert before in (None, step.state)
        records[key] = step.state
        for name, secondary in step.secondaries.items():
            secondaries.setdefault(name, secondary)

        (answer,) = step.outputs
        has_it = before is None or command_id == before.command_id
        assert isinstance(answer, UserCreated) == has_it
        if isinstance(answer, UserCreated):
            assert (step.state.user_id, step.state.email, step.state.name) == (
                answer.user_id,
                answer.email,
                answer.name,
            )
