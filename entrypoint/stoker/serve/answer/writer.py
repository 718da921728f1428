"""How an answer is written: each API that is served has its own way."""

from __future__ import annotations

from typing import Protocol


class Writer(Protocol):
    """One answer, either streamed (`render` for each piece of a choice's text, then `ending`) or `whole`."""

    def render(self, index: int, text: str) -> bytes: ...

    def ending(self) -> bytes: ...

    def whole(self, texts: list[str]) -> bytes: ...
