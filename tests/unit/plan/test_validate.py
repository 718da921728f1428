"""The rules of catalogue files, at their bounds: what a rule takes, and its reason against anything else."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.plan import validate
from stoker.plan.validate import Rule

TEXTS = validate.list_of(validate.text)
SOME = validate.list_of(validate.text, least=2)
SIZES = validate.mapping_of(validate.profile_name, validate.whole(1))
FIELDS = validate.fields_of({"name": validate.text, "size": validate.whole(0)}, optional=("size",))


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (validate.one_of(("a", "b")), "b"),
        (validate.whole(2), 2),
        (validate.fraction, 1),
        (validate.fraction, 0.001),
        (validate.text, "x"),
        (validate.capability, "8.0"),
        (validate.capability, "12.1"),
        (validate.profile_name, "8bit.fast_1-a"),
        (TEXTS, []),
        (SOME, ["a", "b"]),
        (validate.number, 0.1),
        (validate.number, 7),
        (SIZES, {}),
        (SIZES, {"a": 1}),
        (FIELDS, {"name": "a"}),
        (FIELDS, {"name": "a", "size": 0}),
        (validate.either(validate.text, validate.number), "auto"),
        (validate.either(validate.text, validate.number), 3),
    ],
)
def test_a_rule_takes(rule: Rule, value: Any) -> None:
    assert rule(value) == ""


@pytest.mark.parametrize(
    ("rule", "value", "reason"),
    [
        (validate.whole(2), 1, "1 is not a whole number of at least 2"),
        (validate.whole(0), 1.0, "1.0 is not a whole number of at least 0"),
        (validate.whole(0), True, "True is not a whole number of at least 0"),
        (validate.fraction, 0, "0 is not a number above 0 and up to 1"),
        (validate.fraction, 1.001, "1.001 is not a number above 0 and up to 1"),
        (validate.fraction, True, "True is not a number above 0 and up to 1"),
        (validate.text, " ", "' ' is not a text"),
        (validate.text, 3, "3 is not a text"),
        (validate.capability, "8", "'8' is not a compute capability like 8.0"),
        (validate.capability, "8.10", "'8.10' is not a compute capability like 8.0"),
        (validate.profile_name, "A", "'A' is not a name of lower-case letters, digits, '_', '.' and '-'"),
        (validate.profile_name, "-a", "'-a' is not a name of lower-case letters, digits, '_', '.' and '-'"),
        (validate.profile_name, 8, "8 is not a name of lower-case letters, digits, '_', '.' and '-'"),
        (TEXTS, "ab", "'ab' is not a list"),
        (TEXTS, ["a", 1, 2], "1 is not a text"),
        (SOME, ["a"], "['a'] is not a list of at least 2"),
        (validate.number, 0, "0 is not a number above 0"),
        (validate.number, True, "True is not a number above 0"),
        (SIZES, [1], "[1] is not a mapping"),
        (SIZES, {"a": 1, "b": 0}, "0 is not a whole number of at least 1"),
        (SIZES, {"A": 1}, "'A' is not a name of lower-case letters, digits, '_', '.' and '-'"),
        (FIELDS, {"name": "a", "b": 1, "a": 1}, "unknown field a"),
        (FIELDS, {"size": 1}, "name is missing"),
        (FIELDS, {"name": "a", "size": -1}, "size: -1 is not a whole number of at least 0"),
        (FIELDS, "name", "'name' is not a mapping"),
        (validate.either(validate.text, validate.number), "", "'' is not a text"),
        (validate.either(validate.text, validate.number), 0, "0 is not a number above 0"),
    ],
)
def test_a_rule_says_what_is_wrong(rule: Rule, value: Any, reason: str) -> None:
    assert rule(value) == reason


def test_an_unknown_name_is_quoted_with_what_is_near() -> None:
    assert validate.one_of(("latency", "throughput"))("latencies").startswith("unknown name 'latencies'; ")


def test_a_capability_is_two_numbers() -> None:
    assert validate.capability_of("12.1") == (12, 1)
