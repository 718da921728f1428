"""The host's socket: messages (stoker.framing) in both directions.

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
import threading
from collections import deque
from typing import Any

from stoker.framing import Unframer, framed

ADD, ABORT, CLOSE = range(1, 4)
READY, FAILED, STEP, FRAME = range(17, 21)

OUT_OF_MEMORY, UNFIT, BROKEN = "out_of_memory", "unfit", "broken"  # codes of FAILED

_CHUNK = 1 << 18


class Link:
    """One end of a connected socket. Any thread may send, one may receive. OSError when the other end is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        self._unframer = Unframer()
        self._received: deque[list[Any]] = deque()

    def send(self, *message: object) -> None:
        packed = framed(message)
        with self._sending:
            self._socket.sendall(packed)

    def receive(self) -> list[Any] | None:
        """The next message; None at the end."""
        while not self._received:
            chunk = self._socket.recv(_CHUNK)
            if not chunk:
                return None
            self._received.extend(self._unframer.feed(chunk))
        return self._received.popleft()

    def close(self) -> None:
        """Wakes a thread that receives."""
        with contextlib.suppress(OSError):  # the other end was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
