"""The page at `/` and the API's description at `/docs`: static files that ship with the package.

A browser needs nothing from anywhere else. Libraries are in `vendor`, whose manifest pins them (tools/vendor_page.py).
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from stoker.serve.http.errors import ApiError
from stoker.serve.operate.page.assets import Asset, load_asset

# No inline script or style, no form that leaves the page, and pictures only from the files themselves.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "font", "connect")),
        "img-src 'self' data:",
        *(f"{name} 'none'" for name in ("base-uri", "form-action", "frame-ancestors")),
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
}


def add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return _answer(request, load_asset("index.html"))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return _answer(request, load_asset("docs.html"))

    @app.get("/page/{name:path}", include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        return _answer(request, load_asset(name))


def _answer(request: Request, asset: Asset | None) -> Response:
    if asset is None:
        raise ApiError(404, f"Not Found: {request.url.path[:200]}", code="not_found")
    headers = {**_HEADERS, "etag": asset.etag, "cache-control": asset.cache_control}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if not asset.gzipped:
        return Response(asset.stored, headers=headers, media_type=asset.media_type)
    if not _takes_gzip(request):
        return Response(asset.plain(), headers=headers, media_type=asset.media_type)
    return Response(asset.stored, headers={**headers, "content-encoding": "gzip"}, media_type=asset.media_type)


def _takes_gzip(request: Request) -> bool:
    offers = request.headers.get("accept-encoding", "").replace(" ", "").lower().split(",")
    return any(offer == "gzip" or (offer.startswith("gzip;q=") and offer[7:].strip("0.")) for offer in offers)
