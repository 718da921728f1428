"""What an API process is told when it starts, and when an engine is ready to be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stoker.launch.replicas import Address
from stoker.serve.http.limits import Limits
from stoker.serve.http.peers import Network
from stoker.serve.operate.adapters import Served
from stoker.serve.operate.frontend import Recipe

_T = TypeVar("_T")


class Start(msgspec.Struct, frozen=True):
    """`keys`: names by the digest of each API key. `tls`: certificate, key and clients' authority. `counted`: the
    folder of what is counted."""

    worker: int
    limits: Limits
    keys: dict[bytes, str]
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    management_apart: bool
    log_prompts: bool
    reject_unknown: bool
    keeps_responses: bool
    keep_alive: float
    otlp: str
    log_format: str
    log_level: str
    counted: Path
    tls: tuple[Path, Path, Path | None] | None = None


class Equip(msgspec.Struct, frozen=True):
    """`block_tokens`: what prompts are hashed by to be routed, 0 where it makes no difference."""

    recipe: Recipe
    adapters: tuple[Served, ...]
    addresses: list[Address]
    block_tokens: int


def packed(order: Any) -> Any:
    """What a message can hold."""
    return msgspec.to_builtins(order, enc_hook=_plain, builtin_types=(bytes,))


def unpacked(document: Any, kind: type[_T]) -> _T:
    return msgspec.convert(document, kind, dec_hook=_made, builtin_types=(bytes,))


def _plain(value: Any) -> Any:
    if isinstance(value, (Path, Network)):
        return str(value)
    if isinstance(value, frozenset):
        return list(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be sent")


def _made(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return kind(value)
    raise NotImplementedError(f"{kind.__name__} cannot be received")
