"""The first command for an address registers its user; an erasure frees the address for good."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.user import domain
from services.user.domain import Registration, User
from services.user.events import (
    Input,
    UserCreated,
    UserCreateRejected,
    UserCreateRequested,
    UserErased,
    UserEraseRequested,
)
from sidecart.chassis.keyed_hash import keyed_hash
from sidecart.chassis.service import Step
from tests.unit.services.sample_events import ANOTHER, COMMAND, OTHER, USER, received

HASH = partial(keyed_hash, b"secret")
STEP = partial(domain.step, keyed_hash=HASH)
ADDRESS_HASH = HASH("ann@example.com")
REQUEST = UserCreateRequested(USER, "Ann@example.com", "Ann")
ERASE = UserEraseRequested(USER, ADDRESS_HASH)
ANN = Registration(USER, "Ann@example.com", "Ann", COMMAND)
ANN_READ = User(USER, "Ann@example.com", "Ann", ADDRESS_HASH)
GONE = User(USER, "", "", ADDRESS_HASH, erased=True)
CREATED = UserCreated(USER, "Ann@example.com", "Ann")


def test_the_first_command_registers_the_user() -> None:
    """The step returns the state, the secondary record for reads, and UserCreated."""
    step = STEP(None, None, received(REQUEST))

    assert Step(ANN, {f"user:{USER}": ANN_READ}, (CREATED,)) == step


def test_the_same_command_again_is_answered_again_and_changes_nothing() -> None:
    """A repetition publishes UserCreated from the state and writes nothing."""
    step = STEP(ANN, ANN_READ, received(REQUEST))

    assert Step(ANN, {}, (CREATED,)) == step


def test_another_body_under_the_same_key_is_refused_as_such() -> None:
    """The same user_id means the same idempotency key, so the reason is `key_reused`."""
    step = STEP(ANN, None, received(UserCreateRequested(USER, "ann@example.com", "Anna"), ANOTHER))

    assert Step(ANN, {}, (UserCreateRejected(USER, "key_reused"),)) == step


def test_the_address_of_another_user_is_refused() -> None:
    """The rejection contains the user_id of the command, not that of the registered user."""
    step = STEP(ANN, None, received(UserCreateRequested(OTHER, "ANN@example.com", "Bob"), ANOTHER))

    assert Step(ANN, {}, (UserCreateRejected(OTHER, "email_taken"),)) == step


def test_a_user_has_one_address() -> None:
    """A second address would have a record that no erasure of the user finds."""
    step = STEP(None, ANN_READ, received(UserCreateRequested(USER, "ann@example.org", "Ann"), ANOTHER))

    assert Step(None, {}, (UserCreateRejected(USER, "key_reused"),)) == step


def test_an_erasure_frees_the_address_and_overwrites_the_record_of_the_user() -> None:
    """Neither record has the address or the name any more."""
    step = STEP(ANN, ANN_READ, received(ERASE, ANOTHER))

    assert Step(None, {}, (UserErased(USER),), {f"user:{USER}": GONE}) == step


def test_a_repeated_erasure_is_the_same() -> None:
    """It publishes UserErased again, which repairs a loss at any consumer."""
    step = STEP(None, GONE, received(ERASE, ANOTHER))

    assert Step(None, {}, (UserErased(USER),)) == step


def test_an_erasure_leaves_the_next_user_of_the_address() -> None:
    """The address was registered again before the repetition arrived."""
    next_user = Registration(OTHER, "ann@example.com", "Bob", COMMAND)

    step = STEP(next_user, GONE, received(ERASE, ANOTHER))

    assert next_user == step.state
    assert (UserErased(USER),) == step.outputs


@pytest.mark.parametrize("state", [None, Registration(OTHER, "ann@example.com", "Bob", ANOTHER)])
@pytest.mark.parametrize("command_id", [COMMAND, ANOTHER])
def test_an_erased_user_never_returns(state: Registration | None, command_id: str) -> None:
    """A late or repeated registration is rejected, also under another address."""
    step = STEP(state, GONE, received(UserCreateRequested(USER, "ann@example.com", "Ann"), command_id))

    assert Step(state, {}, (UserCreateRejected(USER, "erased"),)) == step


def test_another_user_gets_the_free_address() -> None:
    """An erased address is free."""
    step = STEP(None, None, received(UserCreateRequested(OTHER, "ann@example.com", "Bob")))

    assert Registration(OTHER, "ann@example.com", "Bob", COMMAND) == step.state
    assert (UserCreated(OTHER, "ann@example.com", "Bob"),) == step.outputs


@pytest.mark.parametrize("email", ["Ann@Example.COM", "ann@example.com"])
def test_the_key_is_the_hash_of_the_folded_address(email: str) -> None:
    """It shows no address, and the command that erases the user has the same key."""
    key = domain.key(UserCreateRequested(USER, email, "Ann"), keyed_hash=HASH)

    assert f"email:{ADDRESS_HASH}" == key == domain.key(ERASE, keyed_hash=HASH)
    assert 64 == len(ADDRESS_HASH)


COMMANDS = st.tuples(
    st.one_of(
        st.builds(
            UserCreateRequested,
            st.sampled_from([USER, OTHER]),
            st.sampled_from(["ann@example.com", "Ann@Example.com", "bob@example.com"]),
            st.sampled_from(["Ann", "Bob"]),
        ),
        st.builds(
            UserEraseRequested,
            st.sampled_from([USER, OTHER]),
            st.sampled_from([HASH("ann@example.com"), HASH("bob@example.com")]),
        ),
    ),
    st.sampled_from([COMMAND, ANOTHER]),
)


@given(st.lists(COMMANDS, max_size=20))
def test_any_order_and_any_repetition_gives_each_address_to_one(commands: list[tuple[Input, str]]) -> None:
    """The first command owns the address until its user is erased; no erased user returns."""
    records: dict[str, Registration | None] = {}
    secondaries: dict[str, User] = {}
    for event, command_id in commands:
        key, name = domain.key(event, keyed_hash=HASH), domain.secondary_key(event)
        before, known = records.get(key), secondaries.get(name)
        step = STEP(before, known, received(event, command_id))
        records[key] = step.state
        for secondary_key, secondary in step.secondaries.items():
            secondaries.setdefault(secondary_key, secondary)
        secondaries |= step.erased or {}

        (answer,) = step.outputs
        if isinstance(event, UserEraseRequested):
            assert UserErased(event.user_id) == answer
            assert step.state is None or step.state.user_id != event.user_id
        elif isinstance(answer, UserCreated):
            assert step.state is not None
            assert known is None or not known.erased
            assert before in (None, step.state)
            assert (step.state.user_id, step.state.email, step.state.name) == (
                answer.user_id,
                answer.email,
                answer.name,
            )
        else:
            assert before == step.state
