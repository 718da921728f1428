"""The frame: what one engine step gave to all sequences of one channel, in one piece of bytes.

A channel is the multiplexed stream of one API process; a handle is the number that this process gave to one of its
sequences. Little-endian, each part aligned to 4 bytes:

    u32 sequences, u32 tokens, u32 flags (1: log probabilities), u32 bytes of extras
    u32 [sequences]  handles
    u32 [sequences]  ends: where each sequence's ids end among all ids
    u32 [sequences]  reasons, one of the constants below
    i32 [tokens]     ids
    f32 [tokens]     log probabilities of the ids, if flagged; NaN for a sequence that did not ask
    extras           what is rare, as a msgpack map from a sequence's place in the frame to a map (see Extras)

An engine's process packs it, Triton carries it, the API process reads it: nothing in between looks inside. This module
needs only the standard library and msgspec, since engines in environments of their own import it.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict

import msgspec

RUNNING, STOP, LENGTH, OUT_OF_MEMORY, FAILED, REFUSED, CANCELLED = range(7)

PackedTop: TypeAlias = tuple[int, bytes, bytes]
"""k, i32 ids, f32 log probabilities: k for each of the frame's tokens of a sequence, most probable first."""

PackedScores: TypeAlias = tuple[int, bytes, bytes, bytes]
"""width, i32 ids, f32 log probabilities, i32 ranks of the prompt's tokens from the second on: `width` ids and log
probabilities for each, the token's own first, and its rank."""


class Extras(TypedDict, total=False):
    """A sequence's. `error`: why it failed or was refused. `told`: numbers by the names of their output tensors.
    `embedding`: f32 bytes, of a model whose output is no text."""

    error: str
    told: dict[str, int]
    embedding: bytes
    top: PackedTop
    prompt: PackedScores


_HEADER = struct.Struct("<IIII")
_LOG_PROBS = 1
_NAN = (math.nan,)


class FrameWriter:
    """Gathers one frame. Falsy while empty; `pack` empties it."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._handles, self._ends, self._reasons = array("I"), array("I"), array("I")
        self._ids, self._log_probs = array("i"), array("f")
        self._told = False
        self._extras: dict[int, Extras] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def add(
        self,
        handle: int,
        ids: Sequence[int] = (),
        log_probs: Sequence[float] | None = None,
        reason: int = RUNNING,
        extras: Extras | None = None,
    ) -> None:
        """`log_probs` runs parallel to `ids`; None where they were not asked for."""
        if extras:
            self._extras[len(self._handles)] = extras
        self._ids.extend(ids)
        if log_probs is not None and ids:
            self._told = True
        self._log_probs.extend(_NAN * len(ids) if log_probs is None else log_probs)
        self._handles.append(handle)
        self._ends.append(len(self._ids))
        self._reasons.append(reason)

    def pack(self) -> bytes:
        extras = msgspec.msgpack.encode(self._extras) if self._extras else b""
        flags = _LOG_PROBS if self._told else 0
        parts = [_HEADER.pack(len(self._handles), len(self._ids), flags, len(extras))]
        parts += [self._handles.tobytes(), self._ends.tobytes(), self._reasons.tobytes(), self._ids.tobytes()]
        if self._told:
            parts.append(self._log_probs.tobytes())
        parts.append(extras)
        self._clear()
        return b"".join(parts)


def packed_top(top: Sequence[Sequence[tuple[int, float]]]) -> PackedTop:
    """The extras' `top`; as many pairs for each token."""
    pairs = [pair for each in top for pair in each]
    ids, log_probs = array("i", (id_ for id_, _ in pairs)), array("f", (value for _, value in pairs))
    return len(top[0]), ids.tobytes(), log_probs.tobytes()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, read. `ids` and `log_probs` are those of all its sequences; see `ends`."""

    handles: Sequence[int]
    ends: Sequence[int]
    reasons: Sequence[int]
    ids: list[int]
    log_probs: list[float] | None
    extras: dict[int, Extras]

    def __iter__(self) -> Iterator[tuple[int, int, int, int, int]]:
        """For each sequence its place, handle, reason, and where its ids begin and end."""
        begin = 0
        for place, (handle, end, reason) in enumerate(zip(self.handles, self.ends, self.reasons, strict=True)):
            yield place, handle, reason, begin, end
            begin = end


def read_frame(packed: bytes | memoryview) -> Frame:
    """ValueError for what is no frame."""
    try:
        return _read(memoryview(packed))
    except (struct.error, msgspec.DecodeError, TypeError) as error:
        raise ValueError(f"not a frame: {error}") from error


def _read(view: memoryview) -> Frame:
    sequences, tokens, flags, extras_bytes = _HEADER.unpack_from(view)
    words = _HEADER.size + 4 * (3 * sequences + tokens * (2 if flags & _LOG_PROBS else 1))
    if len(view) != words + extras_bytes:
        raise ValueError(f"not a frame: {len(view)} bytes instead of {words + extras_bytes}")
    numbers = view[_HEADER.size : words].cast("I")
    ids = view[_HEADER.size + 12 * sequences : _HEADER.size + 12 * sequences + 4 * tokens].cast("i").tolist()
    log_probs: list[float] | None = None
    if flags & _LOG_PROBS:
        log_probs = list(view[words - 4 * tokens : words].cast("f"))
    extras = msgspec.msgpack.decode(view[words:], type=dict[int, Extras], strict=False) if extras_bytes else {}
    handles, ends = numbers[:sequences].tolist(), numbers[sequences : 2 * sequences].tolist()
    return Frame(handles, ends, numbers[2 * sequences : 3 * sequences].tolist(), ids, log_probs, extras)
