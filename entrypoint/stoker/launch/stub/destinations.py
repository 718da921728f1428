"""Where a sequence's tokens go: into responses to its own request, or into the frames of a channel.

A channel is the multiplexed stream of one API process (stoker.launch.frames): one response for each engine step holds
what all of its sequences gained. Everything here belongs to the loop's thread.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Protocol

from stoker.launch import frames
from stoker.launch.frames import FrameWriter
from stoker.launch.generation import Scores
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.wire import (
    FINAL,
    Sender,
    embedding_response,
    error_response,
    frame_response,
    token_response,
)

ASK_EVERY = 0.1  # seconds between asking whether a channel has been cancelled


class Destination(Protocol):
    """`hurry` says that what is given next must not wait; `due`, whether to give now what has gathered."""

    def hurry(self) -> None: ...

    def due(self, gathered: int, interval: int) -> bool: ...

    def give(
        self, ids: Sequence[int], log_probs: Sequence[float] | None, output: Output, told: dict[str, int] | None
    ) -> None:
        """The last of a sequence if the output says so."""
        ...

    def fail(self, message: str, refused: bool = False) -> None: ...

    def drop(self) -> None:
        """Nobody waits for the rest."""
        ...

    def is_cancelled(self) -> bool: ...


class Own:
    """Responses to the request itself."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._hurried = True

    def hurry(self) -> None:
        self._hurried = True

    def due(self, gathered: int, interval: int) -> bool:
        return self._hurried or gathered >= interval

    def give(
        self, ids: Sequence[int], log_probs: Sequence[float] | None, output: Output, told: dict[str, int] | None
    ) -> None:
        self._hurried = False
        if output.embedding is not None:
            self._sender.send(embedding_response(output.embedding), flags=FINAL)
            return
        response = token_response(ids, log_probs, output.out_of_memory, told)
        self._sender.send(response, flags=FINAL if output.ended else 0)

    def fail(self, message: str, refused: bool = False) -> None:
        self._sender.send(error_response(message, refused), flags=FINAL)

    def drop(self) -> None:
        self._sender.send(flags=FINAL)

    def is_cancelled(self) -> bool:
        return self._sender.is_cancelled()


class Channel:
    """`age`: steps since its last frame."""

    def __init__(self, number: int, sender: Sender) -> None:
        self.number = number
        self.writer = FrameWriter()
        self.hurried = False
        self.age = 0
        self._sender = sender
        self._asked = 0.0
        self._cancelled = False

    def is_cancelled(self) -> bool:
        """Asks Triton now and then."""
        now = time.monotonic()
        if not self._cancelled and now - self._asked >= ASK_EVERY:
            self._asked = now
            self._cancelled = self._sender.is_cancelled()
        return self._cancelled

    def flush(self) -> bool:
        """Sends a frame if there is something to say."""
        self.age += 1
        if not self.writer:
            return False
        self.send(self.writer.pack())
        return True

    def send(self, frame: bytes) -> None:
        self._sender.send(frame_response(frame))
        self.age = 0
        self.hurried = False

    def go_on(self, sender: Sender) -> None:
        """In responses to another request."""
        self.close()
        self._sender = sender

    def close(self) -> None:
        self._sender.send(flags=FINAL)


class Port:
    """One sequence's place in a channel."""

    def __init__(self, channel: Channel, handle: int) -> None:
        self.channel = channel
        self.handle = handle

    def hurry(self) -> None:
        self.channel.hurried = True

    def due(self, gathered: int, interval: int) -> bool:  # noqa: ARG002
        """All of a channel's sequences give in the same step, so that they share a response."""
        return self.channel.hurried or self.channel.age + 1 >= interval

    def give(
        self, ids: Sequence[int], log_probs: Sequence[float] | None, output: Output, told: dict[str, int] | None
    ) -> None:
        extras: frames.Extras = {"told": told} if told else {}
        if output.embedding is not None:
            extras["embedding"] = array("f", output.embedding).tobytes()
        if output.top:
            extras["top"] = frames.packed_top(output.top)
        if output.prompt is not None:
            extras["prompt"] = packed_scores(output.prompt)
        self.channel.writer.add(self.handle, ids, log_probs, _reason(output), extras)

    def fail(self, message: str, refused: bool = False) -> None:
        reason = frames.REFUSED if refused else frames.FAILED
        self.channel.writer.add(self.handle, reason=reason, extras={"error": message})
        self.hurry()

    def drop(self) -> None:
        """The API process has forgotten it already."""

    def is_cancelled(self) -> bool:
        return self.channel.is_cancelled()


def packed_scores(scores: Scores) -> frames.PackedScores:
    """The extras' `prompt`."""
    ids, log_probs, ranks = array("i", scores.ids), array("f", scores.log_probs), array("i", scores.ranks)
    return scores.width, ids.tobytes(), log_probs.tobytes(), ranks.tobytes()


def _reason(output: Output) -> int:
    if output.out_of_memory:
        return frames.OUT_OF_MEMORY
    return frames.STOP if output.ended or output.embedding is not None else frames.RUNNING
