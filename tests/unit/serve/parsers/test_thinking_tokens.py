"""Tokens of thinking, however many of them come at a time. A token is a character here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stoker.serve.answer.parsers.reasoning import MAGISTRAL, THINK, Thinking, ThinkingTokens

THOUGHT, ANSWER = "Hm <b>, </thin is 5 > 4.", " It is </think>ing."


def _decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def _count(marks: Thinking, begun: bool | None, text: str, size: int) -> int:
    thoughts = ThinkingTokens(marks, begun, _decode)
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        if not thoughts.over:
            thoughts.feed([ord(character) for character in piece], piece)
    return thoughts.count


@pytest.mark.parametrize("size", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("marks", [THINK, MAGISTRAL])
def test_all_tokens_up_to_the_closing_mark_count(marks: Thinking, size: int) -> None:
    thought = THOUGHT + marks.closing
    whole = "\n" + marks.opening + thought
    assert _count(marks, True, thought + ANSWER, size) == len(thought)
    assert _count(marks, None, whole + ANSWER, size) == len(whole)
    assert _count(marks, None, whole.removesuffix(marks.closing), size) == len(whole) - len(marks.closing)
    assert _count(marks, None, marks.opening[:3] + "x" + whole, size) == 0
    assert _count(marks, None, ANSWER, size) == 0
    assert _count(marks, False, whole, size) == 0
