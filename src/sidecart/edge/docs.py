"""The documentation page: Swagger UI from an installed package, so it needs no other host."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

PATH = "/docs"
ASSETS = {  # file of the package, served below the page -> media type
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
HEADERS = {
    # Swagger UI sets style attributes, and its style sheet has icons as data: URLs.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# A file of its own, because the policy forbids inline scripts. The validator runs on another host.
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""


def show(app: FastAPI) -> None:
    """Serve the page and its assets."""
    page = PAGE.format(title=app.title)
    folder = _assets()

    @app.get(PATH, include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page, headers=HEADERS)

    @app.get(f"{PATH}/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(START, media_type="text/javascript", headers=HEADERS)

    for name, media_type in ASSETS.items():
        _file(app, f"{PATH}/{name}", folder / name, media_type)


def _file(app: FastAPI, path: str, file: Path, media_type: str) -> None:
    @app.get(path, include_in_schema=False)
    async def asset() -> Response:
        return FileResponse(file, media_type=media_type, headers=HEADERS)


def _assets() -> Path:
    """Return the folder of the Swagger UI files, without importing the package."""
    package = find_spec("fastapi_swagger")
    if package is None or package.origin is None:
        raise RuntimeError("the package fastapi-swagger is not installed")
    return Path(package.origin).parent / "resources"
