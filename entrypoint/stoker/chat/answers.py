"""One answer on the terminal: printed as it comes, stopped by Ctrl-C, and measured."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from stoker.servers.endpoint import Piece

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Answer:
    """`finish` is empty where it was stopped. `first` and `seconds`: until the first token, and for all of it."""

    text: str
    finish: str
    tokens: int
    first: float
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens per second, the time until the first one included: several may come at once."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


def print_answer(pieces: Iterator[Piece], write: Callable[[str], object], *, styled: bool) -> Answer:
    """Prints with `write`; with `styled`, reasoning is dim. Ctrl-C ends the request and keeps what came."""
    began = time.monotonic()
    text, finish, tokens, first = "", "", 0, 0.0
    reasoning = False
    try:
        with closing(pieces):  # type: ignore[type-var]
            for piece in pieces:
                tokens, finish = piece.tokens or tokens, piece.finish or finish
                if (piece.text or piece.reasoning) and not first:
                    first = time.monotonic() - began
                if styled and bool(piece.reasoning) != reasoning and (piece.text or piece.reasoning):
                    reasoning = bool(piece.reasoning)
                    write(_DIM if reasoning else f"{_PLAIN}\n")
                if piece.text or (styled and piece.reasoning):
                    write(shown(piece.text or piece.reasoning))
                text += piece.text
    except KeyboardInterrupt:
        finish = ""
    finally:
        if reasoning:
            write(_PLAIN)
    return Answer(text, finish, tokens, first, time.monotonic() - began)


def shown(text: str) -> str:
    """Without what would command the terminal instead of being read on it."""
    return "".join(each for each in text if each in "\n\t" or unicodedata.category(each) != "Cc")


def summary(answer: Answer) -> str:
    """One line under the answer."""
    if not answer.finish:
        return "stopped"
    line = f"{answer.tokens} tokens, {answer.rate:.1f} tokens/s, first token after {answer.first:.2f} s"
    if answer.finish == "length":
        line += "; cut off at the longest answer: /set max_tokens N"
    return line
