"""The gateway application: its routes, its error handlers and its entry point."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from sidecart.chassis import settings as common
from sidecart.chassis.events import now, timestamp
from sidecart.chassis.server.inbound import InboundApp, PublicGate, SidecarAuth, Subscription
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import background, run
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.sidecar import connect
from sidecart.chassis.telemetry.tracing import traced
from sidecart.edge import asyncapi, docs, openapi, routes, settings
from sidecart.edge.declarations import Application
from sidecart.edge.journal import Flow
from sidecart.edge.key_secrets import RotationUnderWay
from sidecart.edge.origins import OriginCheck
from sidecart.edge.problems import Problem, method_not_allowed, not_found
from sidecart.edge.rate_limits import AddressLimit
from sidecart.edge.wiring import Wiring

log = logging.getLogger(__name__)

RECONCILE = "/reconcile"  # called by `sidecart reconcile`, with the token of this app
KEY_SECRET = "/key-secret"  # called by `sidecart rotate-key-secret`, with the token of this app
SIDECAR_PATHS = ("/dapr", "/events", "/job", "/actors", "/config", RECONCILE, KEY_SECRET)
HEALTH_PATHS = ("/healthz", "/readyz")
UNCHECKED_PATHS = (*SIDECAR_PATHS, *HEALTH_PATHS)
"""Paths at any host name: a platform's health check and a sidecar may use an address."""


def gateway(
    application: Application,
    config: common.Settings,
    own: settings.Settings,
    shutdown: ShutdownSignal | None = None,
) -> ASGIApp:
    """Build the app: public routes, and the sidecar's routes behind the app token."""
    probe, stop = LoopbackProbe("replies", own.pod_name), shutdown or ShutdownSignal()

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        async with connect(
            config.dapr_http_port, config.dapr_api_token, config.dapr_host, config.dapr_grpc_port
        ) as sidecar:
            wiring = Wiring.of(application, sidecar, probe, stop, own)
            wiring.attach(app)
            topics = [Subscription("replies", topic, handle) for topic, handle in wiring.topics().items()]
            app.subscribe(topics, dead_letters=None)
            async with (
                traced("gateway"),
                background(sidecar.publish_components.find()),
                wiring.run_background_tasks(own.drain_seconds),
            ):
                yield

    app = public_app(application, lifespan, is_open=own.auth is None)
    limited = AddressLimit(app, own.requests_per_address, config.trusted_proxies, UNCHECKED_PATHS)
    authenticated = SidecarAuth(limited, config.app_api_token, SIDECAR_PATHS)
    check = OriginCheck(authenticated, own.allowed_hosts, own.cors_origins, UNCHECKED_PATHS)
    return PublicGate(authenticated, check, check.accepted)


def public_app(
    application: Application, lifespan: Callable[[InboundApp], AbstractAsyncContextManager[None]], *, is_open: bool
) -> InboundApp:
    """Build the app with its public routes; `lifespan` sets `app.state.wiring` before it yields.

    `is_open` (AUTH=off) changes the document only: the routes need no token then.
    """
    app = InboundApp(
        title=application.title, version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    openapi.document(app, application, is_open=is_open)
    docs.show(app)
    _add_problem_handlers(app, application)
    _add_health_routes(app)
    routes.add(app, application)
    _add_reconcile_routes(app)
    _add_key_secret_route(app)
    _add_asyncapi_route(app, application)
    return app


def _add_health_routes(app: FastAPI) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> Response:
        """Report that the process is alive."""
        return PlainTextResponse("alive\n")

    @app.get(
        "/readyz",
        openapi_extra={"parameters": [openapi.EXCLUDE]},
        responses={
            200: openapi.response("ready", "ready; `missing` is empty"),
            503: openapi.response("ready", "not ready; `missing` lists the reasons"),
        },
    )
    async def readyz(request: Request) -> Response:
        """Report whether the gateway can serve requests."""
        without_broker = "broker" in request.query_params.getlist("exclude")
        readiness = request.app.state.wiring.readiness
        missing = readiness.missing(without_broker=without_broker)
        body: dict[str, Any] = {"missing": missing, **({"auth": "off"} if readiness.is_open else {})}
        return Response(msgspec.json.encode(body), 503 if missing else 200, media_type="application/json")


def _add_reconcile_routes(app: FastAPI) -> None:
    """Add the routes of `sidecart reconcile`.

    GET lists the accepted commands whose flows have not ended, or, with `older_than`, those that
    were accepted more than so many seconds ago. POST checks them now and repeats their commands.
    """

    @app.get(RECONCILE, include_in_schema=False)
    async def unfinished(request: Request, older_than: float = 0.0) -> Response:
        wiring: Wiring = request.app.state.wiring
        return _flows([flow for flow in wiring.journal.flows() if (now() - flow.at).total_seconds() >= older_than])

    @app.post(RECONCILE, include_in_schema=False)
    async def reconcile(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return _flows(await wiring.reconciler.reconcile())


def _add_key_secret_route(app: FastAPI) -> None:
    """Add the route of `sidecart rotate-key-secret`."""

    @app.post(KEY_SECRET, include_in_schema=False)
    async def rotate(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        try:
            ends_at = await wiring.secrets.rotate()
        except RotationUnderWay as error:
            raise Problem(409, "rotation_under_way", str(error)) from error
        return Response(msgspec.json.encode({"ends_at": timestamp(ends_at)}), media_type="application/json")


def _flows(flows: list[Flow]) -> Response:
    listed = [
        {"kind": flow.kind, "id": flow.resource, "at": timestamp(flow.at), "attempts": flow.attempts}
        for flow in sorted(flows, key=lambda flow: flow.at)
    ]
    return Response(msgspec.json.encode({"flows": listed}), media_type="application/json")


def _add_asyncapi_route(app: FastAPI, application: Application) -> None:
    document = msgspec.json.encode(asyncapi.document(application, app.version))

    @app.get("/asyncapi.json", include_in_schema=False)  # like /openapi.json: not part of the API
    async def events() -> Response:
        return Response(document, media_type="application/json")


def _add_problem_handlers(app: FastAPI, application: Application) -> None:
    allowed = routes.methods(application)

    @app.exception_handler(Problem)
    async def problem(request: Request, raised: Problem) -> Response:
        return raised.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, raised: HTTPException) -> Response:
        if raised.status_code == 405:
            return method_not_allowed(allowed(request.url.path)).response()
        if raised.status_code == 404:
            return not_found(request.url.path[:200]).response()
        return Problem(raised.status_code, "http", str(raised.detail)).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _raised: ClientDisconnect) -> Response:
        return Problem(400, "incomplete", "the client closed the connection before it sent the whole body").response()

    @app.exception_handler(Exception)
    async def bug(request: Request, raised: Exception) -> Response:
        log.error("unhandled exception: %s %s", request.method, request.url.path, exc_info=raised)
        return Problem(500, "internal", "internal error; the gateway logged it").response()


def serve(application: Application) -> None:
    """Read the settings and serve an application's gateway until shutdown."""
    config, own, shutdown = common.read(), settings.read(os.environ), ShutdownSignal()
    if own.auth is None:
        log.warning("AUTH=off: the gateway trusts the caller in each body, and every program may read everything")
    app = gateway(application, config, own, shutdown)
    run(app, config, shutdown, own.drain_seconds)
