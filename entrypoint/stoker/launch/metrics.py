"""The engine's gauges from Triton's metrics page (Prometheus text)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from stoker.launch.contract import KV_BLOCKS_METRIC, PROGRESS_METRIC, REQUESTS_METRIC
from stoker.launch.generation import EngineState

_LABELS = {REQUESTS_METRIC: "request_type", KV_BLOCKS_METRIC: "kv_cache_block_type", PROGRESS_METRIC: "progress_type"}


def parse_state(text: str) -> EngineState:
    """ValueError if a gauge is missing, or if the page is not Prometheus' text format."""
    values = {(sample.name, sample.labels[_LABELS[sample.name]]): int(sample.value) for sample in _samples(text)}
    try:
        return EngineState(
            running=values[REQUESTS_METRIC, "active"],
            waiting=values[REQUESTS_METRIC, "waiting"],
            kv_blocks_used=values[KV_BLOCKS_METRIC, "used"],
            kv_blocks_total=values[KV_BLOCKS_METRIC, "max"],
            kv_block_tokens=values[KV_BLOCKS_METRIC, "tokens_per"],
            steps=values.get((PROGRESS_METRIC, "steps"), 0),
            tokens=values.get((PROGRESS_METRIC, "tokens"), 0),
        )
    except KeyError as error:
        raise ValueError(f"Triton's metrics lack the engine's gauge {error}") from error


def _samples(text: str) -> Iterator[Sample]:
    """Of the gauges alone: Triton's page has many more lines, and this is asked several times a second."""
    wanted = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(tuple(_LABELS)))
    for family in text_string_to_metric_families(wanted):
        yield from (sample for sample in family.samples if _LABELS.get(sample.name) in sample.labels)


async def fetch_metrics(socket: str, timeout: float = 5.0) -> str:
    """The page's text, from a Unix socket; OSError or asyncio.TimeoutError when the server does not answer."""
    return await asyncio.wait_for(_fetch(socket), timeout)


async def _fetch(socket: str) -> str:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        body = await (reader.readexactly(int(length[1])) if length else reader.read())
        return body.decode()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
