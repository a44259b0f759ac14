"""The export routes: all that the services keep about a person, in one document."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.callers import Callers
from sidecart.edge.erasures_api import require_own
from sidecart.edge.personal_data import ExportDeclaration
from sidecart.edge.problems import Problem, not_found, unavailable
from sidecart.edge.queries_api import is_uuid

READ_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class ExportsApi:
    """Handles the export routes of an application."""

    sidecar: Sidecar
    callers: Callers | None
    """None: every caller may read everything (AUTH=off)."""

    async def handle(self, declared: ExportDeclaration, request: Request) -> Response:
        """Return the parts of all services; raise Problem 401, 403, 404 or 503.

        A service that keeps nothing about the person has no part.
        """
        person = str(request.path_params[declared.resource])
        if self.callers is not None:
            require_own(await self.callers.of(request), declared.resource, person)
        if not is_uuid(person):
            raise not_found(f"{request.url.path[:200]}: an id is a UUID in lower case")
        location = declared.location.format_map({declared.resource: person})
        answers = await asyncio.gather(*(self._ask(app_id, location) for app_id in declared.app_ids))
        if answers[0].status == 404:
            # not the path, which exists
            raise Problem(404, "not_found", f"the {declared.resource} {person} is unknown, or was erased")
        parts = {
            app_id: msgspec.Raw(answer.body)
            for app_id, answer in zip(declared.app_ids, answers, strict=True)
            if answer.status == 200
        }
        return Response(msgspec.json.encode({declared.resource: person, **parts}), media_type="application/json")

    async def _ask(self, app_id: str, location: str) -> Answer:
        """Return the answer of a service, which has status 200 or 404."""
        try:
            answer = await self.sidecar.invoke(app_id, location, READ_SECONDS_MAX)
        except SidecarUnavailable as fault:
            raise unavailable(f"the {app_id} service does not answer; try again") from fault
        if answer.status not in (200, 404):
            raise unavailable(f"the {app_id} service does not answer; try again")
        return answer
