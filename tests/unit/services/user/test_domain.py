"""The first command for an address registers its user."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.user import domain
from services.user.domain import Registration, User
from services.user.events import UserCreated, UserCreateRejected, UserCreateRequested
from sidecart.chassis.service import Step
from tests.unit.services.sample_events import ANOTHER, COMMAND, OTHER, USER, received

REQUEST = UserCreateRequested(USER, "Ann@example.com", "Ann")
ANN = Registration(USER, "Ann@example.com", "Ann", COMMAND)
CREATED = UserCreated(USER, "Ann@example.com", "Ann")


def test_the_first_command_registers_the_user() -> None:
    """The step returns the state, the secondary record for reads, and UserCreated."""
    step = domain.step(None, None, received(REQUEST))

    assert Step(ANN, {f"user:{USER}": User(USER, "Ann@example.com", "Ann")}, (CREATED,)) == step


def test_the_same_command_again_is_answered_again_and_changes_nothing() -> None:
    """A repetition publishes UserCreated from the state and writes nothing."""
    step = domain.step(ANN, User(USER, "Ann@example.com", "Ann"), received(REQUEST))

    assert Step(ANN, {}, (CREATED,)) == step


def test_another_body_under_the_same_key_is_refused_as_such() -> None:
    """The same user_id means the same idempotency key, so the reason is `key_reused`."""
    step = domain.step(ANN, None, received(UserCreateRequested(USER, "ann@example.com", "Anna"), ANOTHER))

    assert Step(ANN, {}, (UserCreateRejected(USER, "key_reused"),)) == step


def test_the_address_of_another_user_is_refused() -> None:
    """The rejection contains the user_id of the command, not that of the registered user."""
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
    """Escaping removes `||` from the key and gives two addresses two keys."""
    assert expected == domain.key(UserCreateRequested(USER, email, "Ann"))


COMMANDS = st.tuples(
    st.builds(
        UserCreateRequested,
        st.sampled_from([USER, OTHER]),
        st.sampled_from(["ann@example.com", "Ann@Example.com", "bob@example.com"]),
        st.sampled_from(["Ann", "Bob"]),
    ),
    st.sampled_from([COMMAND, ANOTHER]),
)


@given(st.lists(COMMANDS, max_size=20))
def test_any_order_and_any_repetition_gives_each_address_to_one(
    commands: list[tuple[UserCreateRequested, str]],
) -> None:
    """The first command owns the address; its repetitions succeed and all others are rejected."""
    records: dict[str, Registration] = {}
    secondaries: dict[str, User] = {}
    for event, command_id in commands:
        key = domain.key(event)
        before = records.get(key)
        step = domain.step(before, secondaries.get(domain.secondary_key(event)), received(event, command_id))
        assert step.state is not None
        assert before in (None, step.state)
        records[key] = step.state
        for name, secondary in step.secondaries.items():
            secondaries.setdefault(name, secondary)

        (answer,) = step.outputs
        is_owner = before is None or command_id == before.command_id
        assert isinstance(answer, UserCreated) == is_owner
        if isinstance(answer, UserCreated):
            assert (step.state.user_id, step.state.email, step.state.name) == (
                answer.user_id,
                answer.email,
                answer.name,
            )
