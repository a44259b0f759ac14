"""The gateway application: its routes, its error handlers and its entry point."""

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

from gateway import asyncapi, bodies, docs, openapi, settings
from gateway.command_declarations import COMMAND_PATHS, DEPOSIT, ORDER, REGISTER
from gateway.commands_api import CommandsApi
from gateway.journal import Flow
from gateway.problems import Problem, method_not_allowed, not_found
from gateway.queries_api import OWNERS, QueriesApi
from gateway.wiring import Wiring
from sidecart.chassis import settings as common
from sidecart.chassis.events import timestamp
from sidecart.chassis.server.inbound import InboundApp, Subscription
from sidecart.chassis.server.serve import LoopbackProbe, SidecarAuth, run
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.sidecar import connect
from sidecart.chassis.telemetry.tracing import traced

log = logging.getLogger(__name__)

RECONCILE = "/reconcile"  # called by `sidecart reconcile`, through service invocation only
SIDECAR_PATHS = ("/dapr", "/events", "/job", "/actors", "/config", RECONCILE)
CommandHandler = Callable[[CommandsApi, Request], Awaitable[Response]]
# Route -> handler, model of the request body, schema name of the 201 response.
COMMAND_ROUTES: dict[str, tuple[CommandHandler, type[BaseModel], str]] = {
    REGISTER.path: (CommandsApi.register, bodies.RegisterBody, "user"),
    DEPOSIT.path: (CommandsApi.deposit, bodies.DepositBody, "deposit_made"),
    ORDER.path: (CommandsApi.order, bodies.OrderBody, "order"),
}


def gateway(
    config: common.Settings, pod_name: str, shutdown: ShutdownSignal | None = None, drain_seconds: float = 0
) -> ASGIApp:
    """Build the app: public routes, and the sidecar's routes behind the app token."""
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
    """Build the app with its public routes; `lifespan` sets `app.state.wiring` before it yields."""
    app = InboundApp(
        title="Sidecart", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    openapi.document(app)
    docs.show(app)
    _add_problem_handlers(app)
    _add_health_routes(app)
    for path, (handler, body, answer) in COMMAND_ROUTES.items():
        _add_command(app, path, handler, body, answer)
    for path, (app_id, answer) in OWNERS.items():
        _add_query(app, path, app_id, answer)
    _add_reconcile_routes(app)
    _add_asyncapi_route(app)
    return app


def _add_command(app: InboundApp, path: str, handler: CommandHandler, body: type[BaseModel], answer: str) -> None:
    async def post(request: Request) -> Response:
        return await handler(request.app.state.wiring.commands_api, request)

    app.answer_directly(path, post)
    app.add_api_route(  # for the OpenAPI document; `answer_directly` serves the POST
        path,
        post,
        methods=["POST"],
        summary=handler.__doc__,
        status_code=201,
        openapi_extra=openapi.request(body),
        responses={
            201: openapi.response(answer, "confirmed by an event"),
            202: openapi.response("accepted", "accepted; the outcome will be at Location"),
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
        summary=f"Read from the {app_id} service.",
        openapi_extra={"parameters": parameters},
        responses={
            200: openapi.response(answer, "the resource as the service stores it"),
            202: openapi.response("accepted", "accepted, not created yet"),
            **openapi.problems(404, 409, 422, 503),
        },
    )


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
        missing = request.app.state.wiring.readiness.missing(without_broker=without_broker)
        body: dict[str, Any] = {"missing": missing}
        return Response(msgspec.json.encode(body), 503 if missing else 200, media_type="application/json")


def _add_reconcile_routes(app: FastAPI) -> None:
    """Add the routes of `sidecart reconcile`.

    GET lists the accepted commands whose flows have not ended. POST checks them now and repeats
    their commands.
    """

    @app.get(RECONCILE, include_in_schema=False)
    async def unfinished(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return _flows(wiring.journal.flows())

    @app.post(RECONCILE, include_in_schema=False)
    async def reconcile(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return _flows(await wiring.reconciler.reconcile())


def _flows(flows: list[Flow]) -> Response:
    listed = [
        {"kind": flow.kind, "id": flow.resource, "at": timestamp(flow.at), "attempts": flow.attempts}
        for flow in sorted(flows, key=lambda flow: flow.at)
    ]
    return Response(msgspec.json.encode({"flows": listed}), media_type="application/json")


def _add_asyncapi_route(app: FastAPI) -> None:
    document = asyncapi.served(app.title, app.version)

    @app.get("/asyncapi.json", include_in_schema=False)  # like /openapi.json: not part of the API
    async def events() -> Response:
        return Response(document, media_type="application/json")


def _add_problem_handlers(app: FastAPI) -> None:
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
        return Problem(400, "incomplete", "the client closed the connection before it sent the whole body").response()

    @app.exception_handler(Exception)
    async def bug(request: Request, raised: Exception) -> Response:
        log.error("unhandled exception: %s %s", request.method, request.url.path, exc_info=raised)
        return Problem(500, "internal", "internal error; the gateway logged it").response()


def main() -> None:
    """Read the settings and serve."""
    config, own, shutdown = common.read(), settings.read(os.environ), ShutdownSignal()
    run(gateway(config, own.pod_name, shutdown, own.drain_seconds), config, shutdown, own.drain_seconds)


if __name__ == "__main__":
    main()
