"""Finding marks, as `<tool_call>`, in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


def cut(text: str, marks: Sequence[str]) -> tuple[str, str | None, str]:
    """(what comes before the first mark, the mark, what comes after it); no mark is a part of another.

    Without one: (what is sure not to belong to a mark, None, an end that may become one).
    """
    found = [(at, -len(mark), mark) for mark in marks if (at := text.find(mark)) >= 0]
    if found:
        at, _, mark = min(found)
        return text[:at], mark, text[at + len(mark) :]
    keep = max((_overlap(text, mark) for mark in marks), default=0)
    return text[: len(text) - keep], None, text[len(text) - keep :]


def _overlap(text: str, mark: str) -> int:
    """How much of the text's end is a beginning of the mark."""
    for size in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:size]):
            return size
    return 0
