"""The host as a Runtime (stoker.launch.stub.runtime), for the direct API, which steps engines itself."""

from __future__ import annotations

import tempfile
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from stoker.errors import EngineError
from stoker.kinds.vllm.runtime import link
from stoker.kinds.vllm.runtime.opening import open_host
from stoker.kinds.vllm.runtime.requests import params_of
from stoker.launch import frames
from stoker.launch.frames import Frame, read_frame
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output

_CHANNEL = 1


class HostSequence:
    """Gathers what came until it is read."""

    def __init__(self, runtime: HostRuntime, handle: int) -> None:
        self._runtime = runtime
        self._handle = handle
        self._output = Output((), ())

    def take(self, frame: Frame, place: int, reason: int, begin: int, end: int) -> None:
        extras = frame.extras.get(place, {})
        told, embedding = extras.get("told", {}), extras.get("embedding")
        refused = reason in (frames.REFUSED, frames.FAILED, frames.CANCELLED)
        self._output = Output(
            (*self._output.ids, *frame.ids[begin:end]),
            (*self._output.log_probs, *(frame.log_probs or [0.0] * len(frame.ids))[begin:end]),
            ended=reason in (frames.STOP, frames.LENGTH, frames.OUT_OF_MEMORY),
            out_of_memory=reason == frames.OUT_OF_MEMORY,
            refused=str(extras.get("error", "the engine dropped it")) if refused else "",
            reused_blocks=told.get("kv_cache_reused_blocks"),
            embedding=None if embedding is None else array("f", embedding),
        )

    def read(self) -> Output:
        output = self._output
        self._output = replace(output, ids=(), log_probs=())
        return output

    def cancel(self) -> None:
        self._runtime.cancel(self._handle)


class HostRuntime:
    """`step` waits for one of the engine's. EngineError when the host has exited."""

    def __init__(self, settings: EngineSettings) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vllm-", dir=settings.run_directory or None)
        try:
            self._host, self._link = open_host(settings, Path(self._folder.name) / "host")
        except BaseException:
            self._folder.cleanup()
            raise
        self._purpose = settings.chosen.purpose
        self._serial = 0
        self._sequences: dict[int, HostSequence] = {}

    def add(self, generation: Generation) -> HostSequence:
        self._serial += 1
        sequence = self._sequences[self._serial] = HostSequence(self, self._serial)
        ids = array("i", generation.input_ids).tobytes()
        params = msgspec.to_builtins(params_of(generation, self._purpose))
        self._link.send(link.ADD, _CHANNEL, self._serial, ids, params)
        return sequence

    def cancel(self, handle: int) -> None:
        if self._sequences.pop(handle, None) is not None:
            self._link.send(link.ABORT, _CHANNEL, handle)

    def step(self) -> None:
        """Nothing when nothing runs: then none would come."""
        if not self._sequences:
            return
        message = self._link.receive()
        if message is None or message[0] == link.FAILED:
            raise EngineError("vLLM ended", why=str(message[2]) if message else "its process exited")
        packed = [message[1:]] if message[0] == link.FRAME else message[4]
        for _, frame in packed:
            self._distribute(read_frame(frame))

    def _distribute(self, frame: Frame) -> None:
        for place, handle, reason, begin, end in frame:
            sequence: Any = self._sequences.get(handle)
            if sequence is not None:
                sequence.take(frame, place, reason, begin, end)
                if reason != frames.RUNNING:
                    del self._sequences[handle]

    def close(self) -> None:
        self._link.close()
        self._host.stop()
        self._folder.cleanup()
