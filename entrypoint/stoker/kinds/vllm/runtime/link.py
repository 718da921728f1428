"""The host's socket: messages of a length and a msgpack array, in both directions.

To the host:
    [ADD, channel, handle, i32 ids, params]   params: stoker.kinds.vllm.runtime.params
    [ABORT, channel, handle]                  no frame follows for it
    [CLOSE, channel]                          aborts all sequences of a channel
From the host:
    [READY, facts]                            once, when the engine is loaded
    [FAILED, code, message]                   the engine cannot be loaded, or broke; the host ends
    [FRAME, channel, frame]                   of a request that was refused
    [STEP, running, waiting, kv, [[channel, frame]...], steps, tokens]
                                              once for each engine step: requests that run and wait, the share of the
                                              KV cache in use (0 to 1), a frame (stoker.launch.frames) for each channel
                                              whose sequences gained something, all tokens so far and the steps of
                                              single sequences that gave them
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

import msgspec

ADD, ABORT, CLOSE = range(1, 4)
READY, FAILED, STEP, FRAME = range(17, 21)

OUT_OF_MEMORY, UNFIT, BROKEN = "out_of_memory", "unfit", "broken"  # codes of FAILED

_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 18


class Link:
    """One end of a connected socket. Any thread may send, one may receive. OSError when the other end is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        self._received = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    def send(self, *message: Any) -> None:
        packed = self._encode(message)
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(packed)) + packed)

    def receive(self) -> list[Any] | None:
        """The next message; None at the end."""
        while True:
            if len(self._received) >= _LENGTH.size:
                end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
                if len(self._received) >= end:
                    message: list[Any] = self._decode(memoryview(self._received)[_LENGTH.size : end].tobytes())
                    del self._received[:end]
                    return message
            chunk = self._socket.recv(_CHUNK)
            if not chunk:
                return None
            self._received += chunk

    def close(self) -> None:
        """Wakes a thread that receives."""
        with contextlib.suppress(OSError):  # the other end was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
