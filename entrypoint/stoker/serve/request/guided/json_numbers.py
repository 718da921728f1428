"""Schemas of numbers: bounds become digits, rounded inwards where they are not whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stoker.serve.request.guided.grammar import GuideError, Node, Repeat, choice, optional, sequence
from stoker.serve.request.guided.integers import integers
from stoker.serve.request.guided.json_values import DIGIT, INTEGER, NUMBER

_GREATEST = 10**18
_FORMATS = ("int32", "int64", "float", "double", "decimal")

Schema = Mapping[str, object]


def integer(schema: Schema, where: str) -> Node:
    _check_number(schema, where)
    if schema.get("multipleOf", 1) != 1:
        raise GuideError(f"{where}: 'multipleOf' other than 1 is not supported")
    low, high = _range(schema, where)
    if low is None and high is None:
        return INTEGER
    return _integers(None if low is None else math.ceil(low), None if high is None else math.floor(high), where)


def number(schema: Schema, where: str) -> Node:
    """Between whole bounds: the integers, and those with a fraction between each two of them."""
    _check_number(schema, where)
    low, high = _range(schema, where)
    if low is None and high is None:
        return NUMBER
    least, most = (None if low is None else math.ceil(low)), (None if high is None else math.floor(high))
    options = [_integers(least, most, where)]
    fraction = optional(sequence(".", Repeat(DIGIT, 1, 17)))
    above, below = max(0, least or 0), (None if most is None else most - 1)
    if below is None or below >= above:
        options.append(sequence(integers(above, below), fraction))
    above, below = max(0, -(most or 0)), (None if least is None else -least - 1)
    if most is None or below is None or below >= above:
        options.append(sequence("-", integers(above if most is not None else 0, below), fraction))
    return choice(options)


def _integers(low: int | None, high: int | None, where: str) -> Node:
    try:
        return integers(low, high)
    except GuideError as error:
        raise GuideError(f"{where}: {error}") from error


def _check_number(schema: Schema, where: str) -> None:
    if "format" in schema and schema["format"] not in _FORMATS:
        raise GuideError(f"{where}: the format {str(schema['format'])[:80]!r} is not supported for numbers")


def _range(schema: Schema, where: str) -> tuple[float | None, float | None]:
    """Both ends included: an excluded whole number is passed by one, another is rounded inwards anyway."""
    low, high = _bound(schema, "minimum", where), _bound(schema, "maximum", where)
    above, below = _bound(schema, "exclusiveMinimum", where), _bound(schema, "exclusiveMaximum", where)
    lows = [value for value in (low, None if above is None else math.floor(above) + 1) if value is not None]
    highs = [value for value in (high, None if below is None else math.ceil(below) - 1) if value is not None]
    return max(lows, default=None), min(highs, default=None)


def _bound(schema: Schema, keyword: str, where: str) -> float | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise GuideError(f"{where}: {keyword!r} is a number")
    if not -_GREATEST < value < _GREATEST:
        raise GuideError(f"{where}: {keyword!r} is a number of at most 18 digits")
    return value
