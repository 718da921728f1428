"""Text from token ids as they come: characters are given out once they are complete, and never taken back.

Decoders join, strip and merge across tokens (byte fallback, word-boundary spaces), so a token alone cannot be decoded:
a short window is decoded again and what it adds is given out. U+FFFD at the end of a window may be a character whose
bytes are still to come; UTF-8 needs at most 3 of them, so at most 3 are held back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_LONGEST_INCOMPLETE = 3
_WINDOW = 12
_LONGEST_WINDOW = 64  # only garbage gets there: ids without text, bytes that never become characters
_CONTEXT = 6


class Decoder(Protocol):
    """`special` are the ids that `decode` leaves out."""

    @property
    def special(self) -> frozenset[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class Detokenizer:
    """One sequence. With `context` (the end of the prompt) the text continues it: a leading space is kept.

    The pieces joined are what decoding all ids at once gives. `shown`: control tokens that are not left out.
    """

    __slots__ = ("_clean", "_decode", "_given", "_shown", "_special", "_window")

    def __init__(self, decoder: Decoder, context: Sequence[int] = (), shown: Mapping[int, str] | None = None) -> None:
        self._shown = shown or {}
        self._decode = decoder.decode
        self._special = decoder.special
        self._window = _clean_tail(decoder, context)
        self._given = decoder.decode(self._window)
        self._clean = len(self._window)  # the window up to here ends with a whole character

    def feed(self, ids: Sequence[int]) -> str:
        if self._shown and not self._shown.keys().isdisjoint(ids):
            return "".join(self._mark(id_) if id_ in self._shown else self.feed((id_,)) for id_ in ids)
        window = self._window
        window.extend(ids if self._special.isdisjoint(ids) else [id_ for id_ in ids if id_ not in self._special])
        text, end = self._decode(window), len(window)
        if text.endswith(_INCOMPLETE):
            text, end = self._whole(text)
        added = text[len(self._given) :]
        if end == len(window):
            self._rebase(text)
        elif added:
            self._given = text
            self._clean = max(self._clean, end)
        return added

    def _mark(self, id_: int) -> str:
        """A control token that is text here; what follows begins afresh."""
        text = self.flush() + self._shown[id_]
        self._window, self._given, self._clean = [], "", 0
        return text

    def flush(self) -> str:
        """What is left when no more ids come; U+FFFD for bytes that never became a character."""
        return self._decode(self._window)[len(self._given) :]

    def _whole(self, text: str) -> tuple[str, int]:
        """The text without its last, perhaps incomplete character, and how many ids it is the whole text of (or 0).

        Byte fallback shows a run of bytes as nothing but U+FFFD until all of it is valid, so the ids are tried again
        without the last few.
        """
        size = len(self._window)
        for count in range(1, min(_LONGEST_INCOMPLETE, size) + 1):
            shorter = self._decode(self._window[:-count])
            if not shorter.endswith(_INCOMPLETE):
                return shorter, size - count
        if size > _LONGEST_WINDOW:
            return text, size
        trailing = len(text) - len(text.rstrip(_INCOMPLETE))
        return text[: len(text) - min(trailing, _LONGEST_INCOMPLETE)], 0

    def _rebase(self, text: str) -> None:
        """Forgets what no later token can change. Only from one whole character to another, so that none is cut."""
        window = self._window
        if len(window) > _WINDOW and self._clean < len(window):
            shorter = self._decode(window[self._clean :])
            # Decoders strip a first space: a window that shows nothing would strip the next one's too.
            if shorter or len(window) > _LONGEST_WINDOW:
                del window[: self._clean]
                text = shorter
        self._clean = len(window)
        self._given = text


def _clean_tail(decoder: Decoder, context: Sequence[int]) -> list[int]:
    """The last few ids of the prompt, none if they do not decode to whole characters."""
    tail = list(context[-_CONTEXT:])
    return [] if _INCOMPLETE in decoder.decode(tail) else tail
