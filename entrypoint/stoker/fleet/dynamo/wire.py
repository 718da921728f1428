"""The socket between Stoker and its process in Dynamo's environment: messages (stoker.framing).

To Dynamo's process:
    [START, facts]                 once, before anything else: stoker.fleet.dynamo.facts
    [CHUNK, number, choice, ids, log probabilities or null, top or null, finish reason or null, prompt tokens, tokens]
    [FAILED, number, kind, text]   the request ended in an error; kind is one of INVALID, BUSY, GONE, BROKEN
    [STORED, [[ids, hashes, parent or null]...]]    blocks of the KV cache that the engine now holds
    [REMOVED, hashes]              and no longer holds
    [LOAD, used blocks, all blocks, share of prompt blocks found in the cache or null]
    [LEAVE]                        take no more requests
    [JOIN]                         take requests again
    [END]                          every answer has been sent: say so once each has been handed on
From it:
    [JOINED, number of the instance]
    [LEFT]
    [GENERATE, number, request]    request: Dynamo's PreprocessedRequest
    [CANCEL, number]
    [ENDED]
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from stoker.framing import Unframer, framed

START, CHUNK, FAILED, STORED, REMOVED, LOAD, LEAVE, JOIN, END = range(1, 10)
JOINED, LEFT, GENERATE, CANCEL, ENDED = range(17, 22)

INVALID, BUSY, GONE, BROKEN = "invalid", "busy", "gone", "broken"

_CHUNK = 1 << 16


class Wire:
    """One end. All of it belongs to one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unframer = Unframer()
        self._received: deque[list[Any]] = deque()

    def send(self, *message: object) -> None:
        """Without waiting: the other end is a process of this machine that reads all the time."""
        self._writer.write(framed(message))

    async def receive(self) -> list[Any] | None:
        """The next message; None at the end."""
        while not self._received:
            try:
                chunk = await self._reader.read(_CHUNK)
            except OSError:
                return None
            if not chunk:
                return None
            self._received.extend(self._unframer.feed(chunk))
        return self._received.popleft()

    def close(self) -> None:
        self._writer.close()
