"""Whatever the grammar of a schema allows is valid under the schema, by an independent validator's judgement."""

from __future__ import annotations

import importlib.util
import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.serve.request.guided.formats import FORMATS
from stoker.serve.request.guided.grammar import GuideError
from stoker.serve.request.guided.json_schema import schema_grammar
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.guided.repetition import in_blocks

_spec = importlib.util.spec_from_file_location("derivation", Path(__file__).with_name("derivation.py"))
assert _spec is not None
assert _spec.loader is not None
derivation = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(derivation)


def texts(schema: Any, count: int = 20) -> list[str]:
    grammar = schema_grammar(schema)
    guide(grammar)  # it is one that an engine can follow
    random_ = random.Random(0)
    return [derivation.derive(in_blocks(grammar), random_) for _ in range(count)]


def _small(low: int, high: int) -> dict[str, Any]:
    return {"minimum": min(low, high), "maximum": max(low, high)}


_few = st.integers(0, 9)
_kinds = st.sampled_from(["integer", "number"])
_numbers = st.integers(-1200, 1200)
_leaves = st.one_of(
    st.just({"type": "string"}),
    st.builds(lambda a, b: {"type": "string", "minLength": min(a, b), "maxLength": max(a, b)}, _few, _few),
    st.sampled_from([{"type": "string", "format": name} for name in ("date", "ipv4", "uuid", "email")]),
    st.sampled_from([{"type": "string", "pattern": p} for p in ("^[a-c]{2,4}$", "^\\d+\"?$", "x|y\\\\z", "^.{3}$")]),
    st.builds(lambda kind, a, b: {"type": kind, **_small(a, b)}, _kinds, _numbers, _numbers),
    st.builds(lambda a: {"type": "integer", "exclusiveMinimum": a}, _numbers),
    st.builds(lambda a: {"type": "number", "exclusiveMaximum": a + 0.5}, _numbers),
    st.sampled_from([{"type": "boolean"}, {"type": ["null", "integer"]}, {"const": 'a"b\\'}, {"enum": [1, "é", [2]]}]),
    st.sampled_from([True, {}, {"type": "object"}, {"type": "array"}, {"type": "number"}]),
)  # fmt: skip
_names = st.text(max_size=6).filter(lambda name: name.isprintable())


def _objects(inner: Any) -> Any:
    def build(properties: dict[str, Any], chosen: int, others: Any) -> dict[str, Any]:
        names = list(properties)
        required = [name for index, name in enumerate(names) if chosen >> index & 1]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": others}

    return st.builds(build, st.dictionaries(_names, inner, max_size=4), st.integers(0, 15), inner | st.just(False))


def _arrays(inner: Any) -> Any:
    return st.builds(
        lambda item, a, b: {"type": "array", "items": item, "minItems": min(a, b), "maxItems": max(a, b)},
        inner, st.integers(0, 4), st.integers(0, 4),
    )  # fmt: skip


_schemas = st.recursive(
    _leaves,
    lambda inner: (
        _objects(inner)
        | _arrays(inner)
        | st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=100, derandomize=True)
@given(_schemas)
def test_what_a_grammar_allows_is_valid(schema: Any) -> None:
    for text in texts(schema, 4):
        jsonschema.validate(json.loads(text), schema)


def test_recursive_schemas_end() -> None:
    children = {"type": "array", "items": {"$ref": "#/$defs/tree"}}
    tree = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "children": children},
        "required": ["value", "children"],
    }
    schema = {"$ref": "#/$defs/tree", "$defs": {"tree": tree}}
    for text in texts(schema):
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("bounds", "lengths"),
    [({"maxItems": 2}, {0, 1, 2}), ({"minItems": 1, "maxItems": 2}, {1, 2}), ({"minItems": 2, "maxItems": 2}, {2})],
)
@pytest.mark.parametrize("items", [{}, {"items": {"type": "null"}}], ids=["any", "null"])
def test_lists_are_as_long_as_allowed_whatever_is_in_them(
    bounds: dict[str, Any], lengths: set[int], items: dict[str, Any]
) -> None:
    assert {len(json.loads(text)) for text in texts({"type": "array", **bounds, **items}, 60)} == lengths


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_what_they_say(name: str) -> None:
    pattern = re.compile(FORMATS[name])
    for text in texts({"type": "string", "format": name}):
        assert pattern.fullmatch(json.loads(text))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0), (7, 7), (3, 120), (-5, 5), (-1234, -77), (99, 100), (0, 10**18 - 1), (-10, None), (None, 3)],
)
def test_integers_reach_both_bounds_and_not_beyond(low: int | None, high: int | None) -> None:
    schema = (
        {"type": "integer"} | ({} if low is None else {"minimum": low}) | ({} if high is None else {"maximum": high})
    )
    values = [int(text) for text in texts(schema, 400)]
    assert low is None or min(values) >= low
    assert high is None or max(values) <= high
    if low is not None and high is not None and high - low < 20:
        assert set(values) == set(range(low, high + 1))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "strin"}, "no such type"),
        ({"type": 5}, "no such type"),
        ({"type": []}, "no such type"),
        ({"type": "string", "pattern": "(?=a)b"}, "'?'"),
        ({"type": "string", "pattern": "[z-a]"}, "a range"),
        ({"type": "string", "pattern": "("}, "unclosed"),
        ({"type": "string", "pattern": "a**"}, "quantifier"),
        ({"type": "string", "pattern": "\\bx"}, "\\b' at"),
        ({"type": "string", "format": "unheard-of"}, "unheard-of"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "more than"),
        ({"type": "string", "maxLength": 10**9}, "maxLength"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no integer"),
        ({"type": "integer", "multipleOf": 7}, "multipleOf"),
        ({"type": "number", "minimum": "1"}, "minimum"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False}, "'a'"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "https://example.com/schema"}, "into the schema itself"),
        ({"$ref": "#"}, "finite length"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "finite length"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "refers to itself"),
        ({"anyOf": []}, "at least one entry"),
        ({"enum": []}, "at least one entry"),
        ({"enum": ["a"], "type": "integer"}, "none of the values"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "both fit"),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, "several schemas"),
        ({"not": {}}, "'not'"),
        ({"type": "array", "items": {}, "minItems": "1"}, "minItems"),
        ([], "a schema is an object"),
        (False, "a schema is an object"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_to_is_refused_by_name(schema: Any, says: str) -> None:
    with pytest.raises(GuideError, match=re.escape(says)):
        guide(schema_grammar(schema))


def test_a_discriminated_union_is_taken() -> None:
    def kind(name: str, **more: Any) -> dict[str, Any]:
        return {"type": "object", "properties": {"kind": {"const": name}, **more}, "required": ["kind", *more]}

    schema = {"oneOf": [kind("circle", radius={"type": "integer"}), kind("square", side={"type": "integer"})]}
    for text in texts(schema):
        jsonschema.validate(json.loads(text), schema)


def test_depth_and_size_are_limited() -> None:
    deep: dict[str, Any] = {}
    for _ in range(1000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(GuideError, match="deep"):
        schema_grammar(deep)
    wide = {"type": "object", "properties": {f"p{index}": {"enum": list(range(100))} for index in range(1000)}}
    with pytest.raises(GuideError, match="too large"):
        guide(schema_grammar(wide))
    with pytest.raises(GuideError, match="it has 20001 values, and 20000 are allowed"):
        schema_grammar({"enum": list(range(20_001))})


def test_further_properties_never_take_a_known_name() -> None:
    schema = {"type": "object", "properties": {"a": {"const": 1}, "ab": {"const": 2}, "": {"const": 3}},
              "additionalProperties": {"const": 4}}  # fmt: skip
    for text in texts(schema, 500):
        pairs = json.loads(text, object_pairs_hook=list)
        assert all(value == {"a": 1, "ab": 2, "": 3}.get(name, 4) for name, value in pairs)
