"""The engine's gauges from Triton's metrics page (Prometheus text)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

from stoker.launch.contract import KV_BLOCKS_METRIC, REQUESTS_METRIC
from stoker.launch.generation import EngineState

_SAMPLE = re.compile(r"^(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)", re.MULTILINE)
_LABELS = {REQUESTS_METRIC: "request_type", KV_BLOCKS_METRIC: "kv_cache_block_type"}


def parse_state(text: str) -> EngineState:
    """ValueError if a gauge is missing."""
    values = dict(_samples(text))
    try:
        return EngineState(
            running=values["active"],
            waiting=values["waiting"],
            kv_blocks_used=values["used"],
            kv_blocks_total=values["kv_max"],
            kv_block_tokens=values["tokens_per"],
        )
    except KeyError as error:
        raise ValueError(f"Triton's metrics lack the engine's gauge {error}") from error


def _samples(text: str) -> Iterator[tuple[str, int]]:
    """`max` is a label value of both families: the blocks' is given as `kv_max`."""
    for match in _SAMPLE.finditer(text):
        label = _LABELS.get(match["name"])
        if label and (kind := re.search(rf'{label}="(\w+)"', match["labels"])):
            prefix = "kv_" if match["name"] == KV_BLOCKS_METRIC and kind[1] == "max" else ""
            yield prefix + kind[1], int(float(match["value"]))


async def fetch_metrics(host: str, port: int, timeout: float = 5.0) -> str:
    """The page's text; OSError or asyncio.TimeoutError when the server does not answer."""
    return await asyncio.wait_for(_fetch(host, port), timeout)


async def _fetch(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        body = await (reader.readexactly(int(length[1])) if length else reader.read())
        return body.decode()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
