"""The routes of an application's declarations: its commands, queries, erasures and exports."""

from __future__ import annotations

import re
from collections.abc import Callable, Set

from fastapi import FastAPI, Request, Response

from sidecart.edge import openapi
from sidecart.edge.declarations import PARAMETER, Application, CommandDeclaration, QueryDeclaration
from sidecart.edge.personal_data import ErasureDeclaration, ExportDeclaration
from sidecart.edge.problems import method_not_allowed
from sidecart.edge.wiring import Wiring


def add(app: FastAPI, application: Application) -> None:
    """Add the routes; their handlers take `app.state.wiring`."""
    for command in application.commands:
        _add_command(app, command)
    for query in application.queries:
        _add_query(app, query)
    for erasure in application.erasures:
        _add_erasure(app, erasure, application.command_paths)
    for export in application.exports:
        _add_export(app, export)


def methods(application: Application) -> Callable[[str], str]:
    """Return a function from a path to the methods of its routes."""
    erasures = [re.compile(PARAMETER.sub("[^/]+", each.path)) for each in application.erasures]

    def allowed(path: str) -> str:
        if path in application.command_paths:
            return "POST"
        return "GET, HEAD, DELETE" if any(each.fullmatch(path) for each in erasures) else "GET, HEAD"

    return allowed


def _add_command(app: FastAPI, command: CommandDeclaration) -> None:
    async def post(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return await wiring.commands_api.handle(command, request)

    app.add_api_route(  # for the OpenAPI document; `Wiring.attach` serves the POST
        command.path,
        post,
        methods=["POST"],
        summary=command.summary,
        status_code=201,
        openapi_extra=openapi.request(command) | openapi.security(command.scope),
        responses={
            201: openapi.response(command.answer_schema, "confirmed by an event"),
            202: openapi.response("accepted", "accepted; the outcome will be at Location"),
            **openapi.problems(400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 503),
        },
    )


def _add_erasure(app: FastAPI, erasure: ErasureDeclaration, command_paths: Set[str]) -> None:
    async def delete(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        if request.url.path in command_paths:
            raise method_not_allowed("POST")
        return await wiring.erasures_api.handle(erasure, request)

    app.add_api_route(
        erasure.path,
        delete,
        methods=["DELETE"],
        summary=erasure.summary,
        openapi_extra={"parameters": [*openapi.ids([erasure.resource]), openapi.PREFER]} | openapi.security(),
        responses={
            200: openapi.response(erasure.answer_schema, "confirmed by an event"),
            202: openapi.response("accepted", "accepted; the query answers 404 at the end"),
            **openapi.problems(401, 403, 404, 405, 421, 429, 503),
        },
    )


def _add_export(app: FastAPI, export: ExportDeclaration) -> None:
    async def get(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return await wiring.exports_api.handle(export, request)

    app.add_api_route(
        export.path,
        get,
        methods=["GET"],
        summary="Read all that the services keep about one person.",
        openapi_extra={"parameters": openapi.ids([export.resource]), openapi.EXPORT: True} | openapi.security(),
        responses={
            200: openapi.response(export.schema, "the parts of the services, by app-id"),
            **openapi.problems(401, 403, 404, 421, 429, 503),
        },
    )


def _add_query(app: FastAPI, query: QueryDeclaration) -> None:
    async def get(request: Request) -> Response:
        wiring: Wiring = request.app.state.wiring
        return await wiring.queries_api.read(query, request)

    parameters = openapi.ids(query.parameters)
    app.add_api_route(
        query.path,
        get,
        methods=["GET"],
        summary=f"Read from the {query.app_id} service.",
        openapi_extra={"parameters": parameters} | ({} if query.is_public else openapi.security()),
        responses={
            200: openapi.response(query.schema, "the resource as the service stores it"),
            202: openapi.response("accepted", "accepted, not created yet"),
            **openapi.problems(401, 403, 404, 409, 421, 422, 429, 503),
        },
    )
