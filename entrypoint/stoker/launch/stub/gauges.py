"""The engine's own gauges in Triton's metrics, under TensorRT-LLM's names, and its pulse for the supervisor."""

from __future__ import annotations

import ctypes
import mmap
import struct
from pathlib import Path

import triton_python_backend_utils as pb_utils

from stoker.launch import contract
from stoker.launch.settings import PULSE_FILE, EngineSettings
from stoker.launch.stub.loop import Load


class Gauges:
    def __init__(self, settings: EngineSettings) -> None:
        self._kv = settings.kv
        requests = _family(contract.REQUESTS_METRIC, "Requests in the engine")
        blocks = _family(contract.KV_BLOCKS_METRIC, "Blocks of the KV cache; used: held by running requests")
        self._active, self._waiting, maximum = (
            _gauge(requests, "request_type", value) for value in ("active", "waiting", "max")
        )
        self._used, self._free, total, per_block = (
            _gauge(blocks, "kv_cache_block_type", value) for value in ("used", "free", "max", "tokens_per")
        )
        progress = _family(contract.PROGRESS_METRIC, "Tokens so far, and steps of single sequences that gave them")
        self._steps, self._tokens = (_gauge(progress, "progress_type", value) for value in ("steps", "tokens"))
        maximum.set(settings.chosen.max_batch_size)
        total.set(settings.kv.blocks)
        per_block.set(settings.kv.block_tokens)
        self._free.set(settings.kv.blocks)
        self._keep = (requests, blocks, progress)
        never_free(self._keep)

    def observe(self, load: Load) -> None:
        used = min(self._kv.blocks, sum(-(-tokens // self._kv.block_tokens) for tokens in load.held_tokens))
        self._active.set(load.running)
        self._waiting.set(load.waiting)
        self._used.set(used)
        self._free.set(self._kv.blocks - used)
        self._steps.set(load.steps)
        self._tokens.set(load.tokens)


def _family(name: str, description: str) -> pb_utils.MetricFamily:
    return pb_utils.MetricFamily(name=name, description=description, kind=pb_utils.MetricFamily.GAUGE)


def _gauge(family: pb_utils.MetricFamily, label: str, value: str) -> pb_utils.Metric:
    return family.Metric(labels={"model": contract.MODEL_NAME, label: value})


def never_free(families: tuple[pb_utils.MetricFamily, ...]) -> None:
    """At the stub's end Triton 2.51 frees them after the shared memory by which a family tells the server that it is
    freed: each regular end would be a crash, which may leave the engine's whole memory on the disk."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(families))


class Pulse:
    """A counter of steps in a file that the supervisor maps too: how it tells a busy engine from a stuck one."""

    def __init__(self, directory: Path) -> None:
        with (directory / PULSE_FILE).open("w+b") as file:
            file.truncate(8)
            self._map = mmap.mmap(file.fileno(), 8)
        self._count = 0

    def beat(self) -> None:
        self._count += 1
        struct.pack_into("<Q", self._map, 0, self._count)
