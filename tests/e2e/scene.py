"""The scene of an attack: a shop of which one control can be taken out, its callers, and clients.

The scene restarts only the process that has the control.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx

from sidecart.launcher import monitor
from sidecart.launcher.apps import App
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.lifecycle.environments import monitor_environment
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY
from tests.e2e.attack import Eve, Victim
from tests.e2e.shopper import SECONDS, Shopper
from tests.e2e.without import MAIL_CATCHER

PROGRAM = (sys.executable, "-m", "tests.e2e.without")
ANOTHER_ADDRESS = "127.0.0.9"
"""An address of this machine that is no trusted proxy, so it counts as a client."""


@dataclass(slots=True)
class Removal:
    """The control that is taken out of the running shop, and of which process."""

    shop: System
    app_id: str = ""
    control: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    _usual: dict[str, str] = field(default_factory=dict)
    """The usual values of `env`."""

    def take_out(self, app_id: str, control: str = "", env: Mapping[str, str] | None = None) -> None:
        """Restart an app without a control, or with other settings; everything else is intact."""
        if (app_id, control, env or {}) == (self.app_id, self.control, self.env):
            return
        self.put_back()
        self.app_id, self.control, self.env = app_id, control, env or {}
        if not control and not env:
            return
        apps = cast("dict[str, App]", self.shop.plan.apps)
        before = apps[app_id]
        if control:
            apps[app_id] = replace(before, command=(*PROGRAM, app_id, control))
        self._usual = {name: self._env[name] for name in self.env}
        self._env.update(self.env)
        try:
            self._restart(app_id)
        finally:
            apps[app_id] = before

    def put_back(self) -> None:
        """Restart the app that lacks a control."""
        app_id, self.app_id = self.app_id, ""
        had_one = bool(self.control or self.env)
        self._env.update(self._usual)
        self.control, self.env, self._usual = "", {}, {}
        if app_id and had_one:
            self._restart(app_id)

    @property
    def _env(self) -> dict[str, str]:
        return cast("dict[str, str]", self.shop.options.env)

    def _restart(self, app_id: str) -> None:
        self.shop.stop_app(app_id)
        self.shop.start_app(app_id)
        self.shop.wait_ready(app_id)
        if app_id == GATEWAY:
            self.shop.readiness.wait_for_subscriptions([app_id])


@dataclass(frozen=True, slots=True)
class Scene:
    """The tools of an attack."""

    shopper: Shopper
    victim: Victim
    eve: Eve
    control: str
    """The control to take out of a process that the attack itself starts; "nothing" for none."""
    folder: Path

    @property
    def shop(self) -> System:
        """The running shop."""
        return self.shopper.shop

    @property
    def gateway(self) -> int:
        """The port of the gateway."""
        return self.shop.ports[GATEWAY]

    def http(self) -> httpx.Client:
        """Return a client of the gateway without a token."""
        return httpx.Client(base_url=self.shop.url, timeout=SECONDS, trust_env=False)

    def get(self, path: str, token: str) -> httpx.Response:
        """Read with a token."""
        return httpx.get(f"{self.shop.url}{path}", headers=bearer(token), timeout=SECONDS, trust_env=False)

    @contextmanager
    def page(self, **env: str | None) -> Iterator[httpx.Client]:
        """Start a live page of its own without the control; yield a client without the key."""
        port = free_port()
        made = monitor_environment(self.shop.state) | {"APP_PORT": str(port)}
        made = {name: value for name, value in (made | env).items() if value is not None}
        words = [*PROGRAM, monitor.NAME, self.control]
        with (
            _running(words, made, [port], self.folder / "page.log", self.shop),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS, trust_env=False) as client,
        ):
            yield client

    @contextmanager
    def mail_catcher(self) -> Iterator[tuple[str, int]]:
        """Start a mail catcher of its own without the control; yield its URL and its SMTP port."""
        smtp, port = free_port(), free_port()
        words = [*PROGRAM, MAIL_CATCHER, self.control, "--smtp-port", str(smtp), "--http-port", str(port)]
        with _running(words, plain_environment(), [smtp, port], self.folder / "mail.log", self.shop):
            yield f"http://127.0.0.1:{port}", smtp


@contextmanager
def _running(words: list[str], env: Mapping[str, str], ports: list[int], log: Path, shop: System) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(words, env=dict(env), cwd=root(), stdout=output, stderr=output)
    try:
        shop.deadline.until(
            lambda: all(map(is_listening, ports)) or process.poll() is not None, SECONDS, lambda: log.read_text(), 0.1
        )
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def bearer(token: str) -> dict[str, str]:
    """Return the header of a token."""
    return {"authorization": f"Bearer {token}"}


def with_key(client: httpx.Client, shop: System) -> dict[str, str]:
    """Return the headers of the live page's own requests, for a client that has the key."""
    assert 303 == client.get("/", params={monitor.KEY_PARAMETER: shop.plan.page_key}).status_code
    return {"origin": f"http://{urlsplit(str(client.base_url)).netloc}"}


def log_of(shop: System, name: str) -> str:
    """Return the log of a process, unchanged."""
    return (shop.logs / f"{name}.log").read_text(encoding="utf-8", errors="surrogateescape")
