"""Each process of a system has its own token."""

from sidecart.launcher.tokens import Tokens


def test_a_replica_and_its_sidecar_know_both_tokens() -> None:
    """The app needs the sidecar's token to call it, and the sidecar the app's."""
    tokens = Tokens()
    pair = tokens.pair("order-1")

    assert {"APP_API_TOKEN": tokens["order-1"], "DAPR_API_TOKEN": tokens["order-1-sidecar"]} == pair
    assert pair == tokens.pair("order-1")


def test_no_two_processes_share_a_token() -> None:
    """Replicas of one app neither."""
    tokens = Tokens()
    made = [token for name in ("order", "order-1", "gateway") for token in tokens.pair(name).values()]

    assert 6 == len(set(made)) == len(tokens)
    assert all(len(token) >= 32 for token in made)
