"""The Gateway, wired."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from chassis import settings as common
from chassis.events import timestamp
from chassis.inbound import InboundApp, Subscription
from chassis.serve import LoopbackProbe, SidecarAuth, run
from chassis.shutdown import ShutdownSignal
from chassis.sidecar import connect
from chassis.tracing import traced
from gateway import asyncapi, bodies, docs, openapi, settings
from gateway.command_declarations import COMMAND_PATHS, DEPOSIT, ORDER, REGISTER
from gateway.commands_api import CommandsApi
from gateway.journal import Flow
from gateway.problems import Problem, method_not_allowed, not_found
from gateway.queries_api import OWNERS, QueriesApi
from gateway.wiring import Wiring

log = logging.getLogger(__name__)

RECONCILE = "/reconcile"  # by invocation only: `sidecart reconcile`
SIDECAR_PATHS = ("/dapr", "/events", "/job", "/actors", "/config", RECONCILE)
CommandHandler = Callable[[CommandsApi, Request], Awaitable[Response]]
# route -> handler, what it takes, what its 201 is
COMMAND_ROUTES: dict[str, tuple[CommandHandler, type[BaseModel], str]] = {
    REGISTER.path: (CommandsApi.register, bodies.RegisterBody, "user"),
    DEPOSIT.path: (CommandsApi.deposit, bodies.DepositBody, "deposit_made"),
    ORDER.path: (CommandsApi.order, bodies.OrderBody, "order"),
}


def gateway(
    config: common.Settings, pod_name: str, shutdown: ShutdownSignal | None = None, drain_seconds: float = 0
) -> ASGIApp:
    """Build the app: public routes, and the sidecar's behind the app token."""
    probe, stop = LoopbackProbe("replies", pod_name), shutdown or ShutdownSignal()

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        async with connect(config.dapr_http_port, config.dapr_api_token, config.dapr_host) as sidecar:
            wiring = Wiring.of(sidecar, pod_name, probe, stop)
            app.state.wiring = wiring
            topics = [Subscription("replies", topic, handle) for topic, handle in wiring.topics().items()]
            app.subscribe(topics, dead_letters=None)
            async with traced("gateway"), wiring.run_background_tasks(drain_seconds):
                yield

    app = public_app(lifespan)
    return SidecarAuth(app, config.app_api_token, lambda path: path.startswith(SIDECAR_PATHS))


def public_app(lifespan: Callable[[InboundApp], AbstractAsyncContextManager[None]]) -> InboundApp:
    """Everything that is public; `lifespan` sets `app.state.wiring` before it yields."""
    app = InboundApp(
        title="Sidecart", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    openapi.document(app)
    docs.show(app)
    _problems(app)
    _health(app)
    for path, (handler, body, answer) in COMMAND_ROUTES.items():
        _add_command(app, path, handler, body, answer)
    for path, (app_id, answer) in OWNERS.items():
        _add_query(app, path, app_id, answer)
    _reconciling(app)
    _events_described(app)
    return app


def _add_command(app: InboundApp, path: str, handler: CommandHandler, body: type[BaseModel], answer: str) -> None:
    async def post(request: Request) -> Response:
        return await handler(request.app.state.wiring.commands_api, request)

    app.answer_directly(path, post)
    app.add_api_route(  # for the OpenAPI document
        path,
        post,
        methods=["POST"],
        summary=handler.__doc__,
        status_code=201,
        openapi_extra=openapi.takes(body),
        responses={
            201: openapi.answers(answer, "it is a fact"),
            202: openapi.answers("accepted", "accepted; see Location"),
            **openapi.problems(400, 404, 409, 413, 415, 422, 503),
        },
    )


def _add_query(app: FastAPI, path: str, app_id: str, answer: str) -> None:
    async def get(request: Request) -> Response:
        queries_api: QueriesApi = request.app.state.wiring.queries_api
        return await queries_api.read(app_id, request)

    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string", "format": "uuid"}}
        for name in ("id", "deposit_id")
        if "{" + name + "}" in path
    ]
    app.add_api_route(
        path,
        get,
        methods=["GET"],
        summary=f"Read it from the {app_id} service.",
        openapi_extra={"parameters": parameters},
        responses={
            200: openapi.answers(answer, "as the service knows it"),
            202: openapi.answers("accepted", "accepted, not made yet"),
            **openapi.problems(404, 409, 422, 503),
        },
    )


def _health(app: FastAPI) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> Response:
        """Alive."""
        return PlainTextResponse("alive\n")

    @app.get(
        "/readyz",
        openapi_extra={"parameters": [openapi.EXCLUDE]},
        responses={
            200: openapi.answers("ready", "nothing is missing"),
            503: openapi.answers("ready", "says what is missing"),
        },
    )
    async def readyz(request: Request) -> Response:
        """Able to serve."""
        without_broker = "broker" in request.query_params.getlist("exclude")
        missing = request.app.state.wiring.readiness.missing(without_broker=without_broker)
        body: dict[str, Any] = {"missing": missing}
        return Response(msgspec.json.encode(body), 503 if missing else 200, media_type="application/json")


def _reconciling(app: FastAPI) -> None:
    """GET lists the accepted commands whose flows have not ended; POST checks them now and repeats their commands."""

    @app.get(RECONCILE, include_in_schema=False)
    async def unfinished(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return _flows(wiring.journal.flows())

    @app.post(RECONCILE, include_in_schema=False)
    async def reconcile(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return _flows(await wiring.reconciler.reconcile())


def _flows(flows: list[Flow]) -> Response:
    shown = [
        {"kind": flow.kind, "id": flow.resource, "at": timestamp(flow.at), "attempts": flow.attempts}
        for flow in sorted(flows, key=lambda flow: flow.at)
    ]
    return Response(msgspec.json.encode({"flows": shown}), media_type="application/json")


def _events_described(app: FastAPI) -> None:
    described = asyncapi.served(app.title, app.version)

    @app.get("/asyncapi.json", include_in_schema=False)  # as /openapi.json, which is no part of the API either
    async def events() -> Response:
        return Response(described, media_type="application/json")


def _problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, raised: Problem) -> Response:
        return raised.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, raised: HTTPException) -> Response:
        if raised.status_code == 405:
            return method_not_allowed("POST" if request.url.path in COMMAND_PATHS else "GET, HEAD").response()
        if raised.status_code == 404:
            return not_found(request.url.path[:200]).response()
        return Problem(raised.status_code, "http", str(raised.detail)).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _raised: ClientDisconnect) -> Response:
        return Problem(400, "incomplete", "the connection was closed before the body was there").response()

    @app.exception_handler(Exception)
    async def bug(request: Request, raised: Exception) -> Response:
        log.error("a bug: %s %s", request.method, request.url.path, exc_info=raised)
        return Problem(500, "internal", "something is wrong on our side; it was logged").response()


def main() -> None:
    """Read the settings and serve."""
    config, own, shutdown = common.read(), settings.read(os.environ), ShutdownSignal()
    run(gateway(config, own.pod_name, shutdown, own.drain_seconds), config, shutdown, own.drain_seconds)


if __name__ == "__main__":
    main()
