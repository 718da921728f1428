"""The socket between Stoker and its process in Dynamo's environment: messages of a length and a msgpack array.

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
import struct
from typing import Any

import msgspec

START, CHUNK, FAILED, STORED, REMOVED, LOAD, LEAVE, JOIN, END = range(1, 10)
JOINED, LEFT, GENERATE, CANCEL, ENDED = range(17, 22)

INVALID, BUSY, GONE, BROKEN = "invalid", "busy", "gone", "broken"

_LENGTH = struct.Struct("<I")


class Wire:
    """One end. All of it belongs to one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    def send(self, *message: object) -> None:
        """Without waiting: the other end is a process of this machine that reads all the time."""
        packed = self._encode(message)
        self._writer.write(_LENGTH.pack(len(packed)) + packed)

    async def receive(self) -> list[Any] | None:
        """The next message; None at the end."""
        try:
            length = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))[0]
            message: list[Any] = self._decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return message

    def close(self) -> None:
        self._writer.close()
