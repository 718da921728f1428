"""What a browser would do in the name of some web page, refused before it has an effect.

Without API keys, every page that a user visits could use a server on the user's machine or network: a form or a plain
`fetch` reaches it although the page cannot read the answer, and a page whose own name is made to point at the server
(DNS rebinding) can read it too. A page always sends its own name, as `Host`, `Origin` or both. Where keys are asked
for, pages have none; `allowed_hosts` is then checked only where it is given.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from stoker.serve.http.asgi import App, Receive, Scope, Send, header
from stoker.serve.http.error_forms import refuse
from stoker.serve.http.errors import ApiError

ANY = "*"
_PROBED = "/v1/health/"  # load balancers ask by any name, and learn almost nothing
# Names that nobody can register: of this machine, of local networks and of clusters.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".svc", ".cluster.local", ".test")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BrowserCheck:
    """Pure ASGI. Answers 403 to a `Host` or an `Origin` that is not the server's own or allowed, and 415 to a body
    that says it is not JSON."""

    def __init__(self, app: App, *, hosts: Sequence[str] = (), origins: Sequence[str] = (), keys: bool = False) -> None:
        self._app = app
        self._hosts = tuple(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(scope) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        await refuse(scope, send, fault)

    def _fault(self, scope: Scope) -> ApiError | None:
        return self._foreign_host(scope) or self._foreign_origin(scope) or _not_json(scope)

    def _foreign_host(self, scope: Scope) -> ApiError | None:
        given = header(scope, b"host").decode("latin-1")
        if (self._keys and not self._hosts) or not given or scope["path"].startswith(_PROBED):
            return None
        name = host_name(given)
        if _is_own(name) or any(_matches(name, allowed) for allowed in self._hosts):
            return None
        text = f"Host '{given[:100]}' is not one of this server's names; --allowed-hosts or an API key allows it."
        return ApiError(403, text, code="host_not_allowed")

    def _foreign_origin(self, scope: Scope) -> ApiError | None:
        origin = header(scope, b"origin").decode("latin-1")
        if self._keys or not origin or ANY in self._origins or origin in self._origins:
            return None
        if _place_of(origin) == header(scope, b"host").decode("latin-1").lower():
            return None
        text = f"Pages of '{origin[:100]}' may not use this server; --cors-origins or an API key allows it."
        return ApiError(403, text, code="origin_not_allowed")


def host_name(given: str) -> str:
    """A Host header's name in small letters, without port, brackets and a last dot."""
    name = given.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")


def _place_of(origin: str) -> str:
    """The HOST:PORT of an origin; empty for what is none, such as `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_own(name: str) -> bool:
    """Addresses, and names that no stranger can have: of one part, reserved, or this machine's."""
    if "." not in name or name.endswith(_PRIVATE_SUFFIXES):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == socket.gethostname().lower()
    return True


def _matches(name: str, allowed: str) -> bool:
    return allowed in (ANY, name) or (allowed.startswith("*.") and name.endswith(allowed[1:]))


def _not_json(scope: Scope) -> ApiError | None:
    """A page can send text or a form to any site, but JSON only to one that lets it."""
    if scope["method"] not in _WITH_BODY:
        return None
    given = header(scope, b"content-type").decode("latin-1")
    kind = given.partition(";")[0].strip().lower()
    if not kind or kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return None
    return ApiError(415, f"Content-Type must be application/json, not '{given[:100]}'.", code="unsupported_media_type")
