"""Whose address a request comes from: the connection's, or what a trusted proxy says of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from stoker.errors import UsageError
from stoker.serve.http.asgi import App, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def networks_of(text: str) -> tuple[Network, ...]:
    """Addresses and networks between commas or spaces. UsageError for what is neither."""
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise UsageError(
            "--trusted-proxies", why=str(error), remedy="write addresses or networks, 10.0.0.0/8"
        ) from error


def address_of(scope: Scope) -> str:
    """Of the client, as the log shows it and fairness goes by it; "local" for a Unix socket."""
    peer = scope.get("client")
    return str(peer[0]).removeprefix("::ffff:") if peer else "local"


class Forwarded:
    """Pure ASGI. Of a request that comes from a trusted proxy, takes the client's address from `X-Forwarded-For`: the
    last in it that is no trusted proxy. Nobody else's header is heeded, whatever address it comes from."""

    def __init__(self, app: App, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._trusts(_address(address_of(scope))):
            scope["client"] = (self._told(scope) or address_of(scope), 0)
        await self._app(scope, receive, send)

    def _told(self, scope: Scope) -> str:
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        told = ""
        for word in reversed(",".join(lines).split(",")):
            address = _address(word.strip())
            if address is None:
                break
            told = str(address)
            if not self._trusts(address):
                break
        return told

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.removeprefix("::ffff:"))
    except ValueError:
        return None
    return found
