"""Integers between two bounds, written without leading zeros."""

from __future__ import annotations

from stoker.serve.request.guided.grammar import GuideError, Node, Repeat, Text, characters, choice, sequence
from stoker.serve.request.guided.json_values import DIGIT

MOST = 10**18 - 1


def integers(low: int | None, high: int | None) -> Node:
    """All from low to high, both included; None is as far as 18 digits go."""
    low, high = (-MOST if low is None else low), (MOST if high is None else high)
    if max(abs(low), abs(high)) > MOST:
        raise GuideError("bounds of integers may have at most 18 digits")
    if low > high:
        raise GuideError(f"no integer is at least {low} and at most {high}")
    options: list[Node] = []
    if low < 0:
        options.append(sequence("-", _natural(max(1, -high), -low)))
    if high >= 0:
        options.append(_natural(max(0, low), high))
    return choice(options)


def _natural(low: int, high: int) -> Node:
    """By number of digits, so that the two ends of each part are equally long."""
    options = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (digits - 1) if digits > 1 else 0)
        options.append(_equally_long(str(first), str(min(high, 10**digits - 1))))
    return choice(options)


def _equally_long(low: str, high: str) -> Node:
    """Digit by digit: the first digits that both share, then the three ways to go on."""
    if not low:
        return Text("")
    if set(low) == {"0"} and set(high) == {"9"}:
        return Repeat(DIGIT, len(low), len(low))
    if low[0] == high[0]:
        return sequence(low[0], _equally_long(low[1:], high[1:]))
    rest = len(low) - 1
    options: list[Node] = [sequence(low[0], _equally_long(low[1:], "9" * rest))]
    if int(high[0]) - int(low[0]) > 1:
        between = characters(f"{int(low[0]) + 1}{int(high[0]) - 1}")
        options.append(sequence(between, Repeat(DIGIT, rest, rest)))
    options.append(sequence(high[0], _equally_long("0" * rest, high[1:])))
    return choice(options)
