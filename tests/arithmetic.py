"""Sums that a document spells out, done again."""

import re

import pytest


def check_arithmetic(text: str) -> None:
    """Every line that is nothing but numbers; a cache in whole blocks of 32 tokens."""
    for name, expression, value in re.findall(r"^    ([a-zA-Z ]+?)\s\s+(\d.*?)\s+=\s+([\d,]+)$", text, re.MULTILINE):
        arithmetic, _, blocks = expression.replace(",", "").replace(" x ", " * ").partition(" = ")
        if not re.fullmatch(r"[\d+\-*/.() ]+", arithmetic) or ";" in expression:
            continue
        found = eval(arithmetic)
        if blocks:
            assert int(found) == int(blocks.split()[0]), name
            found = int(found) * eval(arithmetic.partition("/ ")[2])
        assert found == pytest.approx(int(value.replace(",", "")), abs=0.5), name
