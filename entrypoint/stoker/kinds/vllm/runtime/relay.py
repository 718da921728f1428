"""The Triton model's half of the kind: hands requests to the host, and each step's frames to the channels they are for.

What is in a frame is not looked at here: one engine step costs one message and one response for each API process,
however many sequences run. Requests without a channel, of other clients, are a channel of our own whose frames are
taken apart.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from stoker.kinds.vllm.runtime import link
from stoker.kinds.vllm.runtime.opening import open_host
from stoker.kinds.vllm.runtime.requests import params_of
from stoker.launch import frames
from stoker.launch.frames import Frame, FrameWriter, read_frame
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.loop import CANNOT_REOPEN, OBSERVE_EVERY, Load, Name
from stoker.launch.stub.wire import (
    FINAL,
    Sender,
    embedding_response,
    error_response,
    frame_response,
    token_response,
)

logger = logging.getLogger(__name__)

_OWN = 0  # the channel of requests that stand alone; others are random numbers of 63 bits
_ASK_EVERY = 0.2  # seconds between asking whether somebody has gone


@dataclass
class _Alone:
    """A request that stands alone."""

    sender: Sender
    request_id: str
    log_probs: bool


class Relay:
    """A Driver (stoker.launch.stub.runtime). Senders are used under `_lock`, by the threads that receive and ask."""

    drives: ClassVar[bool] = True

    def __init__(self, settings: EngineSettings, observe: Callable[[Load], None], beat: Callable[[], None]) -> None:
        """Returns when the engine is loaded. EngineError if it cannot be."""
        self._observe = observe
        self._beat = beat
        self._kv_tokens = settings.kv.tokens
        self._purpose = settings.chosen.purpose
        self._host, self._link = open_host(settings, Path(settings.run_directory) / "vllm")
        self._lock = threading.Lock()
        self._channels: dict[int, Sender] = {}
        self._alone: dict[int, _Alone] = {}
        self._serial = 0
        self._stopping = threading.Event()
        self._observed = (-1, -1, 0.0)
        self._threads = [
            threading.Thread(target=self._work_or_exit, args=(work,), name=name, daemon=True)
            for work, name in ((self._receive, "engine"), (self._ask, "cancelled"))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, generation: Generation, sender: Sender) -> None:
        with self._lock:
            self._serial = handle = (self._serial + 1) & 0xFFFFFFFF
            self._alone[handle] = _Alone(sender, generation.request_id, generation.log_probs)
        self._add(_OWN, handle, generation)

    def open_channel(self, channel: int, sender: Sender) -> None:
        with self._lock:
            former, self._channels[channel] = self._channels.get(channel), sender
            if former is not None:
                former.send(flags=FINAL)

    def submit_to(self, channel: int, handle: int, generation: Generation) -> None:
        self._add(channel, handle, generation)

    def _add(self, channel: int, handle: int, generation: Generation) -> None:
        ids = array("i", generation.input_ids)
        self._link.send(
            link.ADD, channel, handle, ids.tobytes(), msgspec.to_builtins(params_of(generation, self._purpose))
        )

    def refuse_in(self, channel: int, handle: int, message: str) -> None:
        writer = FrameWriter()
        writer.add(handle, reason=frames.REFUSED, extras={"error": message})
        with self._lock:
            if sender := self._channels.get(channel):
                sender.send(frame_response(writer.pack()))

    def stop_request(self, name: Name) -> None:
        if isinstance(name, tuple):
            self._link.send(link.ABORT, *name)
            return
        with self._lock:
            gone = [handle for handle, alone in self._alone.items() if alone.request_id == name]
            for handle in gone:
                self._alone.pop(handle).sender.send(flags=FINAL)
        for handle in gone:
            self._link.send(link.ABORT, _OWN, handle)

    def stop(self) -> None:
        self._stopping.set()
        self._end_all("the engine is stopping")
        self._host.stop()

    def _work_or_exit(self, work: Callable[[], str]) -> None:
        """`work` returns why it has ended. Without it requests would wait for ever: the stub ends too, unless it wants
        to, so that the supervisor starts another."""
        try:
            reason = work()
        except Exception as error:
            logger.exception("the engine's relay failed")
            reason = f"{type(error).__name__}: {error}"
        if not self._stopping.is_set():
            logger.error("the engine failed: %s", reason)
            self._end_all(reason)
            os._exit(CANNOT_REOPEN)

    def _receive(self) -> str:
        """Until the host ends."""
        reason = "the engine's host ended"
        try:
            while (message := self._link.receive()) is not None:
                if message[0] == link.FAILED:
                    reason = str(message[2])
                elif message[0] == link.FRAME:
                    self._forward([message[1:]])
                else:
                    self._step(*message[1:])
        except OSError as error:
            reason = str(error)
        return reason

    def _step(self, running: int, waiting: int, kv: float, packed: list[Any], steps: int, tokens: int) -> None:
        self._forward(packed)
        self._beat()
        now = time.monotonic()
        if (running, waiting) != self._observed[:2] or now - self._observed[2] >= OBSERVE_EVERY:
            self._observed = (running, waiting, now)
            self._observe(Load(running, waiting, (round(kv * self._kv_tokens),), steps, tokens))

    def _forward(self, packed: list[Any]) -> None:
        with self._lock:
            for channel, frame in packed:
                if channel == _OWN:
                    self._take_apart(read_frame(frame))
                elif sender := self._channels.get(channel):
                    sender.send(frame_response(frame))

    def _take_apart(self, frame: Frame) -> None:
        for place, handle, reason, begin, end in frame:
            alone = self._alone.get(handle)
            if alone is None:
                continue
            if reason != frames.RUNNING:
                del self._alone[handle]
            log_probs = frame.log_probs[begin:end] if alone.log_probs and frame.log_probs else None
            response = _response(frame.ids[begin:end], log_probs, reason, frame.extras.get(place, {}))
            alone.sender.send(response, flags=FINAL if reason != frames.RUNNING else 0)

    def _ask(self) -> str:
        """Drops what nobody waits for any more; our own client says so by a stop, unless it was killed."""
        while not self._stopping.wait(_ASK_EVERY):
            with self._lock:
                channels = [channel for channel, sender in self._channels.items() if sender.is_cancelled()]
                alone = [handle for handle, each in self._alone.items() if each.sender.is_cancelled()]
                for channel in channels:
                    self._channels.pop(channel).send(flags=FINAL)
                for handle in alone:
                    self._alone.pop(handle).sender.send(flags=FINAL)
            with contextlib.suppress(OSError):  # the host has ended: `_receive` hears why
                for channel in channels:
                    self._link.send(link.CLOSE, channel)
                for handle in alone:
                    self._link.send(link.ABORT, _OWN, handle)
        return "the engine is stopping"

    def _end_all(self, reason: str) -> None:
        with self._lock:
            for alone in self._alone.values():
                alone.sender.send(error_response(reason), flags=FINAL)
            for sender in self._channels.values():
                sender.send(error_response(f"the engine failed: {reason}"), flags=FINAL)
            self._alone.clear()
            self._channels.clear()


def _response(ids: list[int], log_probs: list[float] | None, reason: int, extras: frames.Extras) -> Any:
    if reason in (frames.FAILED, frames.REFUSED):
        return error_response(str(extras.get("error", "")), refused=reason == frames.REFUSED)
    if "embedding" in extras:
        return embedding_response(array("f", extras["embedding"]))
    return token_response(ids, log_probs, reason == frames.OUT_OF_MEMORY, extras.get("told"))
