"""Paths and methods as clients write them: with a slash at the end, or HEAD where GET is meant."""

from __future__ import annotations

from stoker.serve.http.asgi import App, Message, Receive, Scope, Send


class PlainPaths:
    """Pure ASGI. `/v1/models/` and `//v1/models` are `/v1/models`: a redirect would name a scheme and a host that only
    the proxy in front of this server knows."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "/")
        plain = "/" + path.strip("/")
        await self._app(scope if plain == path else {**scope, "path": plain}, receive, send)


class HeadOfGet:
    """Pure ASGI. HEAD is answered as GET is, without the body."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_head)
