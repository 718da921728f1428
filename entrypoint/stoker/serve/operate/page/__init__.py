"""The page at `/`: static files that ship with the package; a browser needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI, Response

FILES = ("page.css", "page.js", "chat.js", "asking.js", "plan.js", "server.js")
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    app.add_api_route("/", _serve("index.html"), include_in_schema=False)
    for name in FILES:
        app.add_api_route(f"/page/{name}", _serve(name), include_in_schema=False)


def _serve(name: str) -> Callable[[], Awaitable[Response]]:
    content = (files(__package__) / name).read_bytes()
    media_type = _TYPES[name.rpartition(".")[2]]

    async def serve() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)

    return serve
