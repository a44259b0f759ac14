"""Sidecars accept only each other, and each denies every call but the gateway's reads. Each attack
also runs without its control, where it succeeds.
"""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import grpc
import httpx
import psutil
import pytest
import yaml
from joserfc import jwt
from joserfc.jwk import ECKey

from sidecart.launcher import sentry
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.identities import ALGORITHM, SENTRY_ID, Identities, identity_of
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.ports import free_port
from sidecart.launcher.topics import GATEWAY, app_ids, service_ids
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.faults.injector import send
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.healthy import until_healthy
from tests.e2e.peers import (
    INSECURE,
    SECONDS,
    Certificate,
    call_local,
    channel_to,
    client_context,
    refusal,
    server_identity,
    sign,
)
from tests.e2e.shopper import Shopper

pytestmark = pytest.mark.own_shop

VICTIM = "user"
ALLOW_ALL = {"accessControl": {"defaultAction": "allow", "trustDomain": "public", "policies": []}}


def configuration(folder: Path, spec: object) -> Path:
    """Write a Configuration."""
    file = folder / f"{uuid.uuid4()}.yaml"
    document = {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "x"}, "spec": spec}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


class Unprotected(Wiring):
    """The mutant: sidecars without mTLS and without access control."""

    def __init__(self, folder: Path) -> None:
        self._config = configuration(folder, ALLOW_ALL)

    def sidecar_flags(self, app_id: str) -> Sequence[str]:
        """Return the flags that take the controls out."""
        return ("--enable-mtls=false", "--config", str(self._config))


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop as the launcher starts it."""
    with System(options(tmp_path_factory.mktemp("protected")), print) as running:
        yield running


@pytest.fixture(scope="module")
def unprotected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop without mTLS and access control."""
    folder = tmp_path_factory.mktemp("unprotected")
    with System(options(folder), print, wiring=Unprotected(folder)) as running:
        yield running


@contextmanager
def sidecar_of_the_victim(shop: System, config: Path | None) -> Iterator[None]:
    """Run the sidecar of a service with another Configuration on top of its own, if any."""

    def again(replacement: Path | None) -> None:
        shop.sidecars.stop(VICTIM)
        shop.sidecars.start_for(VICTIM, shop.ports[VICTIM], config=replacement, pod_name=VICTIM)
        shop.sidecars.wait_for_components(VICTIM, shop.deadline)
        shop.wait_ready(VICTIM)

    if config is None:
        yield
        return
    again(config)
    try:
        yield
    finally:
        again(None)


def internal_port(shop: System, app_id: str = VICTIM) -> int:
    """Return the port at which other sidecars reach a sidecar."""
    return shop.state.sidecars[app_id].internal_port


def certificate_of(shop: System, app_id: str, folder: Path) -> Certificate:
    """Get the certificate of an app, with a token that the launcher signs."""
    with channel_to(shop.ports[sentry.NAME], client_context(None, folder)) as channel:
        return sign(channel, app_id, shop.state.identities.token(app_id))


def foreign_certificate(folder: Path) -> Certificate:
    """Return a certificate of another authority, for the gateway's identity."""
    identities = Identities(folder / "foreign")
    with own_sentry(identities) as port, channel_to(port, client_context(None, folder)) as channel:
        return sign(channel, GATEWAY, identities.token(GATEWAY))


@contextmanager
def own_sentry(identities: Identities, config: Path | None = None) -> Iterator[int]:
    """Run a sentry of the test; return its port."""
    identities.write()
    port = free_port()
    program = sentry.find(print, Deadline())
    words = sentry.command(program, config or identities.sentry_configuration, identities.credentials, port)
    with subprocess.Popen(words, env={**plain_environment(), **sentry.environment()}) as process:
        try:
            Deadline().until(lambda: sentry.problem(port) is None, SECONDS, lambda: "sentry does not answer")
            yield port
        finally:
            process.kill()


# --- Who is who


def test_each_sidecar_has_the_identity_of_its_app(protected: System, tmp_path: Path) -> None:
    """It shows the certificate of its app to its peers."""
    shown = {app_id: server_identity(internal_port(protected, app_id), tmp_path) for app_id in app_ids()}

    assert {app_id: f"spiffe://public/ns/default/{app_id}" for app_id in app_ids()} == shown


# --- The internal port


def program_without_tls(shop: System, folder: Path) -> grpc.Channel:
    """A program that speaks plaintext."""
    return channel_to(internal_port(shop))


def program_without_certificate(shop: System, folder: Path) -> grpc.Channel:
    """A program that speaks TLS and shows no certificate."""
    return channel_to(internal_port(shop), client_context(None, folder))


def program_with_a_foreign_certificate(shop: System, folder: Path) -> grpc.Channel:
    """A program with a gateway's certificate of another authority."""
    return channel_to(internal_port(shop), client_context(foreign_certificate(folder), folder))


@pytest.mark.attack("processes", "call an app through the internal port", "mTLS")
@pytest.mark.parametrize(
    "connect", [program_without_tls, program_without_certificate, program_with_a_foreign_certificate]
)
def test_a_program_cannot_call_an_app_through_the_internal_port(
    protected: System, tmp_path: Path, connect: Callable[[System, Path], grpc.Channel]
) -> None:
    """The port does not even accept the connection."""
    with connect(protected, tmp_path) as channel, pytest.raises(grpc.RpcError) as refused:
        call_local(channel, "/readyz")

    assert grpc.StatusCode.UNAVAILABLE == refusal(refused.value)[0]


@pytest.mark.mutant("processes", "call an app through the internal port", "mTLS")
def test_without_mtls_any_program_calls_an_app(unprotected: System) -> None:
    """The mutant: the sidecar adds the app's token to the call of a stranger."""
    with channel_to(internal_port(unprotected)) as channel:
        assert 200 == call_local(channel, "/dapr/subscribe")


@pytest.mark.attack("processes", "call more than reads with the gateway's certificate", "access control")
def test_the_gateway_itself_may_read_and_nothing_else(protected: System, tmp_path: Path) -> None:
    """With the gateway's certificate, a program passes TLS, and access control still decides."""
    context = client_context(certificate_of(protected, GATEWAY, tmp_path), tmp_path)
    with channel_to(internal_port(protected), context) as channel:
        assert 200 == call_local(channel, "/readyz")
        for method, verb in (("/dapr/subscribe", "GET"), ("/readyz", "POST"), ("/user/../dapr/subscribe", "GET")):
            with pytest.raises(grpc.RpcError) as refused:
                call_local(channel, method, verb)
            assert grpc.StatusCode.PERMISSION_DENIED == refusal(refused.value)[0], method


# --- Sentry


def forged(claims: dict[str, object]) -> str:
    """Sign a token with another key."""
    key = ECKey.generate_key("P-256", private=True)
    key.ensure_kid()
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key)


def unsigned(shop: System) -> str:
    """Return the launcher's own token with its signature taken off."""
    _, claims, _ = shop.state.identities.token(VICTIM).split(".")
    return f"eyJhbGciOiJub25lIn0.{claims}."


CLAIMS: dict[str, object] = {"sub": identity_of(VICTIM), "aud": SENTRY_ID, "exp": 9_999_999_999}
TOKENS: dict[str, Callable[[System], str]] = {
    "none": lambda shop: "",
    "of another app": lambda shop: shop.state.identities.token("billing"),
    "of another key": lambda shop: forged(CLAIMS),
    "of another run": lambda shop: Identities(Path("unused")).token(VICTIM),
    "expired": lambda shop: shop.state.identities.token(VICTIM, seconds=-600),
    "unsigned": unsigned,
}


@pytest.mark.attack("processes", "get a certificate for another app", "token validator of sentry")
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_no_other_token_gets_the_identity_of_an_app(
    protected: System, tmp_path: Path, token: Callable[[System], str]
) -> None:
    """Sentry signs only with a token of the launcher that names the app."""
    with channel_to(protected.ports[sentry.NAME], client_context(None, tmp_path)) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            sign(channel, VICTIM, token(protected))
        with pytest.raises(grpc.RpcError) as disabled:
            sign(channel, VICTIM, token(protected), validator=INSECURE)

    assert grpc.StatusCode.PERMISSION_DENIED == refusal(refused.value)[0]
    assert (grpc.StatusCode.INVALID_ARGUMENT, "the requested validator is not enabled") == refusal(disabled.value)
    assert identity_of(VICTIM) == certificate_of(protected, VICTIM, tmp_path).identity


@pytest.mark.mutant("processes", "get a certificate for another app", "token validator of sentry")
def test_without_the_validator_sentry_gives_any_identity(tmp_path: Path) -> None:
    """The mutant: sentry's default needs no token."""
    config = configuration(tmp_path, {"mtls": {"enabled": True}})
    with (
        own_sentry(Identities(tmp_path / "identities"), config) as port,
        channel_to(port, client_context(None, tmp_path)) as channel,
    ):
        assert identity_of(GATEWAY) == sign(channel, GATEWAY, "", validator=INSECURE).identity


# --- Calls between sidecars


def forwarded(shop: System, app_id: str, method: str, verb: str) -> int | tuple[grpc.StatusCode, str]:
    """Let the sidecar of an app forward a call to the victim, as any unknown gRPC call."""
    port, token = shop.state.sidecars[app_id].grpc_port, shop.tokens[sidecar_of(app_id)]
    with channel_to(port) as channel:
        try:
            return call_local(channel, method, verb, dapr_app_id=VICTIM, dapr_api_token=token)
        except grpc.RpcError as error:
            return refusal(error)


@pytest.mark.attack("processes", "invoke another service by gRPC", "access control")
@pytest.mark.parametrize("app_id", [each for each in service_ids() if each != VICTIM])
@pytest.mark.parametrize(("method", "verb"), [("/readyz", "GET"), ("/events/inbox/UserCreateRequested", "POST")])
def test_a_service_cannot_call_another_by_grpc(protected: System, app_id: str, method: str, verb: str) -> None:
    """The other sidecar knows who calls, and denies it."""
    answer = forwarded(protected, app_id, method, verb)

    assert isinstance(answer, tuple), answer
    assert grpc.StatusCode.PERMISSION_DENIED == answer[0]
    assert identity_of(app_id) in answer[1]


@pytest.mark.attack("processes", "invoke another service by HTTP, with mTLS", "allowed calls")
@pytest.mark.parametrize("app_id", service_ids())
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_service_cannot_call_another_by_http(protected: System, app_id: str, verb: str) -> None:
    """The sidecar of a service has no such route (see also test_isolation.py)."""
    assert 404 == invoked(protected, app_id, VICTIM, "/readyz", verb).status_code


@pytest.mark.mutant("processes", "invoke another service by gRPC", "access control")
def test_without_access_control_a_service_calls_another(protected: System, tmp_path: Path) -> None:
    """The mutant: a certificate alone does not say what its owner may call."""
    with sidecar_of_the_victim(protected, configuration(tmp_path, ALLOW_ALL)):
        assert 200 == forwarded(protected, "billing", "/dapr/subscribe", "GET")


def invoked(shop: System, app_id: str, target: str, path: str, verb: str = "GET") -> httpx.Response:
    """Invoke an app, or another target, through the sidecar of an app."""
    url = f"http://127.0.0.1:{shop.sidecars.port(app_id)}/v1.0/invoke/{target}/method{path}"
    headers = {"dapr-api-token": shop.tokens[sidecar_of(app_id)]}
    return httpx.request(verb, url, headers=headers, timeout=SECONDS, trust_env=False)


DENIED = [
    ("POST", "/events/inbox/UserCreateRequested"),
    ("POST", f"/user/{uuid.uuid4()}"),
    ("DELETE", f"/user/{uuid.uuid4()}"),
    ("GET", "/dapr/subscribe"),
    ("GET", "/dapr/config"),
    ("GET", "/healthz"),
    ("GET", "/user/..%2Fdapr%2Fsubscribe"),
    ("GET", "/metrics"),
]


@pytest.mark.attack("processes", "invoke more than reads from the gateway", "access control")
@pytest.mark.parametrize(("verb", "path"), DENIED)
def test_the_gateway_may_only_read(protected: System, verb: str, path: str) -> None:
    """Its sidecar may call the routes of the gateway's queries with GET."""
    answer = invoked(protected, GATEWAY, VICTIM, path, verb)

    assert 403 == answer.status_code, answer.text
    assert {200, 404} == {invoked(protected, GATEWAY, VICTIM, each).status_code for each in ("/readyz", "/user/x")}


@pytest.mark.mutant("processes", "invoke more than reads from the gateway", "access control")
def test_without_access_control_the_gateway_posts_events(protected: System, tmp_path: Path) -> None:
    """The mutant: the victim takes an event from the gateway's sidecar for one of its own."""
    with sidecar_of_the_victim(protected, configuration(tmp_path, ALLOW_ALL)):
        assert 200 == invoked(protected, GATEWAY, VICTIM, "/dapr/subscribe").status_code
        assert 200 == invoked(protected, GATEWAY, VICTIM, "/events/inbox/UserCreateRequested", "POST").status_code


# --- Requests to other servers


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """Run a server that records the paths of its requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.attack("processes", "SSRF through service invocation", "allowed calls")
@pytest.mark.parametrize("app_id", service_ids())
def test_a_service_cannot_make_its_sidecar_call_any_server(protected: System, app_id: str) -> None:
    """Neither by an address in place of an app-id, nor by the name of an HTTPEndpoint."""
    with listener() as (url, asked):
        statuses = {invoked(protected, app_id, target, "/x").status_code for target in (url, "endpoint")}

    assert ({404}, []) == (statuses, asked)


@pytest.mark.mutant("processes", "SSRF through service invocation", "allowed calls")
def test_with_service_invocation_a_sidecar_calls_any_server(protected: System, tmp_path: Path) -> None:
    """The mutant: `api.allowed` of the services is what prevents it."""
    allowed = [{"name": "invoke", "version": "v1.0", "protocol": "http"}]
    config = configuration(tmp_path, {"api": {"allowed": allowed}})
    with sidecar_of_the_victim(protected, config), listener() as (url, asked):
        assert 200 == invoked(protected, VICTIM, url, "/x").status_code

    assert ["/x"] == asked


# --- Without sentry


def test_a_system_without_sentry_keeps_running(protected: System) -> None:
    """Reads work while sentry is unreachable. A killed sidecar waits for it, and comes back."""
    supervisor = Supervisor(protected, print)
    paused = psutil.Process(protected.processes[sentry.NAME])
    with Tap(protected) as tap, Shopper(protected, tap) as shopper:
        user_id = shopper.register()["user_id"]
        send([paused], signal.SIGSTOP)
        try:
            assert user_id == shopper.get(f"/user/{user_id}")["user_id"]
            psutil.Process(protected.processes[sidecar_of(VICTIM)]).kill()
            protected.deadline.until(lambda: sidecar_of(VICTIM) in protected.dead, SECONDS, lambda: "it lives")
            for _ in range(3):
                supervisor.look()
            assert [sidecar_of(VICTIM)] == list(protected.dead)
        finally:
            paused.resume()
        until_healthy(protected, supervisor)
        assert user_id == shopper.get(f"/user/{user_id}")["user_id"]


def test_a_killed_sentry_restarts_with_the_same_authority(protected: System, tmp_path: Path) -> None:
    """The identities of running sidecars stay valid, and a new one is accepted by them."""
    supervisor = Supervisor(protected, print)
    before = protected.processes[sentry.NAME]
    psutil.Process(before).kill()
    protected.deadline.until(lambda: sentry.NAME in protected.dead, SECONDS, lambda: "it lives")
    until_healthy(protected, supervisor)
    protected.deadline.until(
        lambda: sentry.problem(protected.ports[sentry.NAME]) is None, SECONDS, lambda: "sentry does not answer"
    )

    assert before != protected.processes[sentry.NAME]
    context = client_context(certificate_of(protected, GATEWAY, tmp_path), tmp_path)
    with channel_to(internal_port(protected), context) as channel:
        assert 200 == call_local(channel, "/readyz")


@pytest.mark.attack("processes", "read the keys of the authority", "private files")
def test_the_files_of_the_authority_are_private(protected: System) -> None:
    """Only the owner can read the key and the tokens. The key that signs tokens is in no file."""
    folder = protected.state.identities.folder
    modes = {path.name: path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))}
    private = [path.name for path in folder.rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text()]

    assert {0} == set(modes.values()), modes
    assert ["issuer.key"] == private
    document = yaml.safe_load(protected.state.identities.sentry_configuration.read_text(encoding="utf-8"))
    [validator] = document["spec"]["mtls"]["tokenValidators"]
    assert "d" not in json.loads(validator["options"]["source"])["keys"][0]
