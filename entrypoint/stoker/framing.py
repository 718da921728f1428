"""Messages in a stream of bytes: msgpack arrays, each behind its length (u32, little-endian).

This module needs only the standard library and msgspec, since engines in environments of their own import it.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def framed(message: object) -> bytes:
    packed = _encode(message)
    return _LENGTH.pack(len(packed)) + packed


class Unframer:
    """Takes one end's bytes apart as they arrive."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> list[list[Any]]:
        """The messages that are whole now."""
        received, messages, at = self._received, [], 0
        received += data
        while len(received) - at >= _LENGTH.size:
            end = at + _LENGTH.size + _LENGTH.unpack_from(received, at)[0]
            if len(received) < end:
                break
            messages.append(_decode(memoryview(received)[at + _LENGTH.size : end].tobytes()))
            at = end
        del received[:at]
        return messages
