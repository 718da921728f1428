"""JSON schemas as grammars: whatever the grammar allows is valid under the schema.

The other way round it may be narrower: properties come in the schema's order, an object with `properties` has no others
unless `additionalProperties` says so, and bounds are rounded inwards. A keyword that is neither here nor a mere
annotation is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stoker.serve.request.guided.ambiguity import check_ways
from stoker.serve.request.guided.checks import MAX_SIZE, Parts, check_count
from stoker.serve.request.guided.formats import FORMATS
from stoker.serve.request.guided.grammar import (
    NOTHING,
    Grammar,
    GuideError,
    Node,
    Repeat,
    Rule,
    choice,
    optional,
    sequence,
)
from stoker.serve.request.guided.json_numbers import integer, number
from stoker.serve.request.guided.json_values import (
    ARRAY,
    BOOLEAN,
    COLON,
    COMMA,
    NULL,
    OBJECT,
    RULES,
    STRING,
    VALUE,
    in_string,
    listed,
    literal,
    string,
)
from stoker.serve.request.guided.names import other_names
from stoker.serve.request.guided.regex import parse_regex
from stoker.serve.request.guided.simplify import simplified

MAX_NESTING = 64
MAX_ITEMS = 4096
MAX_LENGTH = 8192
MAX_SCHEMAS = 5000
MAX_ONE_OF = 128
MAX_WAYS = 128  # of all its patterns
_ANNOTATIONS = frozenset(
    ("$schema", "$id", "$comment", "title", "description", "default", "example", "examples", "deprecated", "readOnly",
     "writeOnly", "discriminator", "$defs", "definitions", "nullable")
)  # fmt: skip
_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"),
    "boolean": (),
    "null": (),
}
_TYPES = tuple(_KEYWORDS)
_OF_ONE_TYPE = {keyword: kind for kind in ("object", "array", "string") for keyword in _KEYWORDS[kind]}
_COMBINING = ("enum", "const", "anyOf", "oneOf", "allOf", "$ref")

Schema = Mapping[str, Any]


def schema_grammar(schema: object, where: str = "schema", prefix: str = "", parts: Parts | None = None) -> Grammar:
    """Raises GuideError that names the place. `schema`: parsed JSON; `prefix`: of the names of its own rules; `parts`:
    of the schemas that were made into the same grammar before."""
    compiler = _Compiler(schema, prefix, parts or Parts())
    return Grammar(compiler.node(schema, where, 0), {**RULES, **compiler.rules})


def any_object() -> Grammar:
    """Any JSON object."""
    return Grammar(OBJECT, RULES)


class _Compiler:
    def __init__(self, document: object, prefix: str, parts: Parts) -> None:
        self._prefix = prefix
        self.rules: dict[str, Node] = {}
        self._document = document
        self._references: dict[str, Rule] = {}
        self._schemas = self._ways = 0
        self._parts = parts

    def node(self, schema: object, where: str, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise GuideError(f"{where[:100]}...: nested more than {MAX_NESTING} deep")
        self._schemas += 1
        if self._schemas > MAX_SCHEMAS:
            raise GuideError(f"it is too large: it has more than {MAX_SCHEMAS} schemas in it")
        if schema is True:
            return VALUE
        if not isinstance(schema, dict):
            raise GuideError(f"{where}: a schema is an object")
        self._check_keywords(schema, where)
        node = self._combined(schema, where, depth) or self._typed(schema, where, depth)
        return choice([node, NULL]) if schema.get("nullable") is True else node

    def _check_keywords(self, schema: Schema, where: str) -> None:
        kinds = _kinds(schema, where)
        known = _ANNOTATIONS | {"type", *_COMBINING} | {word for kind in kinds for word in _KEYWORDS[kind]}
        for keyword in schema:
            if keyword not in known:
                raise GuideError(f"{where}: {str(keyword)[:80]!r} is not supported here")
        used = [keyword for keyword in _COMBINING if keyword in schema]
        beside = set(schema) - _ANNOTATIONS - set(used)
        if set(used) <= {"enum", "const"}:
            beside -= {"type"}
        if len(used) > 1 or (used and beside):
            raise GuideError(f"{where}: {used[0]!r} together with {sorted([*used[1:], *beside])[0]!r} is not supported")

    def _combined(self, schema: Schema, where: str, depth: int) -> Node | None:
        if "$ref" in schema:
            return self._reference(schema["$ref"], where, depth)
        if "const" in schema:
            return self._parts.counted(_one_of([schema["const"]], schema, where), where)
        if "enum" in schema:
            values = _filled_list(schema["enum"], f"{where}.enum")
            return self._parts.counted(_one_of(values, schema, where), where)
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                return self._alternatives(keyword, schema[keyword], f"{where}.{keyword}", depth)
        return None

    def _alternatives(self, keyword: str, options: object, where: str, depth: int) -> Node:
        options = _filled_list(options, where)
        if keyword == "allOf" and len(options) > 1:
            raise GuideError(f"{where}: several schemas at once are not supported")
        if keyword == "oneOf" and len(options) > MAX_ONE_OF:
            raise GuideError(f"{where}: more than {MAX_ONE_OF} schemas are not supported; use anyOf")
        if keyword == "oneOf":
            check_apart([self._resolved(option) for option in options], where)
        return choice([self.node(option, f"{where}[{index}]", depth + 1) for index, option in enumerate(options)])

    def _reference(self, target: object, where: str, depth: int) -> Node:
        """Each target is one rule, however often it is referred to; so that it may refer to itself."""
        if not isinstance(target, str):
            raise GuideError(f"{where}: $ref is a string")
        if target not in self._references:
            self._references[target] = rule = Rule(f"{self._prefix}ref{len(self._references)}")
            self.rules[rule.name] = NOTHING
            self.rules[rule.name] = self.node(self._target(target, where), target[:100], depth + 1)
        return self._references[target]

    def _target(self, reference: str, where: str) -> object:
        """A JSON pointer into the same document."""
        found = self._document
        if not (reference == "#" or reference.startswith("#/")):
            raise GuideError(f"{where}: only references into the schema itself are supported, as '#/$defs/name'")
        for step in reference[2:].split("/") if len(reference) > 1 else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise GuideError(f"{where}: {reference[:100]!r} leads nowhere")
            found = found[name]
        return found

    def _resolved(self, schema: object) -> object:
        if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            return self._target(schema["$ref"], "oneOf")
        return schema

    def _typed(self, schema: Schema, where: str, depth: int) -> Node:
        kinds = _kinds(schema, where)
        if set(kinds) == set(_TYPES) and not set(schema) - _ANNOTATIONS:
            return VALUE
        return choice([self._of_kind(kind, schema, where, depth) for kind in kinds])

    def _of_kind(self, kind: str, schema: Schema, where: str, depth: int) -> Node:
        if kind == "object":
            return self._object(schema, where, depth)
        if kind == "array":
            return self._array(schema, where, depth)
        simple: dict[str, Callable[[Schema, str], Node]] = {
            "string": self._string,
            "integer": integer,
            "number": number,
        }
        if kind in simple:
            return self._parts.counted(simple[kind](schema, where), where)
        return BOOLEAN if kind == "boolean" else NULL

    def _object(self, schema: Schema, where: str, depth: int) -> Node:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict) or not _texts(required):
            raise GuideError(f"{where}: 'properties' is an object and 'required' a list of names")
        others = schema.get("additionalProperties", not properties)
        members = {name: self._member(name, each, where, depth) for name, each in properties.items()}
        for name in required:
            if name not in members:
                members[name] = self._member(name, others, where, depth) if others is not False else NOTHING
                if others is False:
                    raise GuideError(f"{where}: {name[:80]!r} is required and not among the properties")
        other = None if others is False else self._other(others, tuple(members), where, depth)
        if other is not None and not members and others is True:
            return OBJECT
        return sequence("{", self._members(list(members.items()), frozenset(required), other), "}")

    def _member(self, name: str, schema: object, where: str, depth: int) -> Node:
        return sequence(
            self._parts.counted(literal(name), where), COLON, self.node(schema, f"{where}.{name[:80]}", depth + 1)
        )

    def _other(self, schema: object, names: tuple[str, ...], where: str, depth: int) -> Node:
        return sequence(other_names(names), COLON, self.node(schema, f"{where}.additionalProperties", depth + 1))

    def _members(self, members: list[tuple[str, Node]], required: frozenset[str], other: Node | None) -> Node:
        """Right to left: what may follow when something came before, and when nothing did."""
        more: Node = NOTHING if other is None else Repeat(sequence(COMMA, other))
        first: Node = NOTHING if other is None else optional(sequence(other, more))
        for name, member in reversed(members):
            after = self._shared(more)
            begun = sequence(member, after)
            more = sequence(COMMA, begun) if name in required else choice([sequence(COMMA, begun), after])
            first = begun if name in required else choice([begun, self._shared(first)])
        return first

    def _shared(self, node: Node) -> Node:
        """As a rule, so that it is written once however often it is used."""
        if node is NOTHING or isinstance(node, Rule):
            return node
        check_count(self.rules)
        rule = Rule(f"{self._prefix}part{len(self.rules)}")
        self.rules[rule.name] = node
        return rule

    def _array(self, schema: Schema, where: str, depth: int) -> Node:
        least, most = _bounds(schema, "minItems", "maxItems", MAX_ITEMS, where)
        prefix = schema.get("prefixItems", [])
        if prefix:
            return self._tuple(_filled_list(prefix, f"{where}.prefixItems"), schema, where, depth)
        if "items" not in schema and least == 0 and most is None:
            return ARRAY
        if schema.get("items") is False:
            most = 0
        item = VALUE if most == 0 else self.node(schema.get("items", True), f"{where}.items", depth + 1)
        return sequence("[", listed(self._shared(item), least, most), "]")

    def _tuple(self, prefix: list[object], schema: Schema, where: str, depth: int) -> Node:
        """All of the prefix and nothing after it."""
        for keyword in ("minItems", "maxItems"):
            if schema.get(keyword, len(prefix)) != len(prefix):
                raise GuideError(f"{where}: {keyword} other than the length of prefixItems is not supported")
        if schema.get("items", False) is not False:
            raise GuideError(f"{where}: items after prefixItems are not supported")
        nodes = [self.node(each, f"{where}.prefixItems[{index}]", depth + 1) for index, each in enumerate(prefix)]
        rest = [part for node in nodes[1:] for part in (COMMA, node)]
        return sequence("[", nodes[0], *rest, "]")

    def _string(self, schema: Schema, where: str) -> Node:
        least, most = _bounds(schema, "minLength", "maxLength", MAX_LENGTH, where)
        given = [word for word in ("pattern", "format") if word in schema]
        if not given:
            return string(least, most) if least or most is not None else STRING
        if len(given) > 1 or least or most is not None:
            raise GuideError(f"{where}: {given[0]!r} together with another condition is not supported")
        node, ways = _pattern(given[0], schema[given[0]], where)
        self._ways += ways - 1
        if self._ways > MAX_WAYS:
            raise GuideError(f"{where}: one text can match the schema's patterns in more than {MAX_WAYS} ways")
        return sequence('"', in_string(node), '"')


def _kinds(schema: Schema, where: str) -> tuple[str, ...]:
    """The types that a value may have; without a word on it, all, or the one that other keywords mean."""
    kinds = schema.get("type")
    if kinds is None:
        meant = {_OF_ONE_TYPE[word] for word in schema if word in _OF_ONE_TYPE}
        return tuple(sorted(meant)) if len(meant) == 1 else _TYPES
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or not kinds or not all(isinstance(k, str) and k in _TYPES for k in kinds):
        raise GuideError(f"{where}: no such type: {str(schema['type'])[:80]}")
    return tuple(dict.fromkeys(kinds))


def _one_of(values: list[object], schema: Schema, where: str) -> Node:
    """Those of the values that have the schema's type."""
    kinds = _kinds(schema, where)
    if len(values) > MAX_SIZE:
        raise GuideError(f"{where} is too large: it has {len(values)} values, and {MAX_SIZE} are allowed")
    fitting = [value for value in values if kind_of(value) in kinds or (type(value) is int and "number" in kinds)]
    if not fitting:
        raise GuideError(f"{where}: none of the values has the type")
    return choice([literal(value) for value in fitting])


def kind_of(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def check_apart(options: list[object], where: str) -> None:
    """oneOf is what anyOf is where no value can fit two of its schemas: other types, or other fixed values of a
    property that both require."""
    for index, option in enumerate(options):
        for other in options[:index]:
            if not (_types_apart(option, other) or _marks_apart(option, other)):
                raise GuideError(f"{where}: schemas that may both fit are not supported; use anyOf")


def _types_apart(one: object, other: object) -> bool:
    kinds = [set(_kinds(each, "oneOf")) if isinstance(each, dict) and "type" in each else set(_TYPES)
             for each in (one, other)]  # fmt: skip
    numbers = {"integer", "number"}
    return not kinds[0] & kinds[1] and not (kinds[0] & numbers and kinds[1] & numbers)


def _marks_apart(one: object, other: object) -> bool:
    first, second = _marks(one), _marks(other)
    return any(not set(first[name]) & set(second[name]) for name in first.keys() & second.keys())


def _marks(schema: object) -> dict[str, tuple[str, ...]]:
    """The required properties with fixed values, each value as JSON."""
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    found = {}
    for name in schema.get("required", []) if isinstance(properties, dict) and isinstance(schema, dict) else []:
        each = properties.get(name) if isinstance(name, str) else None
        if isinstance(each, dict) and ("const" in each or isinstance(each.get("enum"), list)):
            values = [each["const"]] if "const" in each else each["enum"]
            found[name] = tuple(literal(value).value for value in values)
    return found


def _pattern(keyword: str, value: object, where: str) -> tuple[Node, int]:
    """What it describes, and in how many ways at once a text may match it."""
    if not isinstance(value, str):
        raise GuideError(f"{where}: {keyword!r} is a string")
    if keyword == "format":
        if value not in FORMATS:
            raise GuideError(f"{where}: the format {value[:80]!r} is not supported; these are: {', '.join(FORMATS)}")
        return parse_regex(FORMATS[value]), 1
    try:
        node = simplified(parse_regex(value))
        return node, check_ways(node)
    except GuideError as error:
        raise GuideError(f"{where}: {error}") from error


def _bounds(schema: Schema, least: str, most: str, limit: int, where: str) -> tuple[int, int | None]:
    low, high = schema.get(least, 0), schema.get(most)
    for name, value in ((least, low), (most, high)):
        if value is not None and (type(value) is not int or not 0 <= value <= limit):
            raise GuideError(f"{where}: {name!r} is an integer from 0 to {limit}")
    if high is not None and high < low:
        raise GuideError(f"{where}: {least!r} is more than {most!r}")
    return low, high


def _filled_list(value: object, where: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise GuideError(f"{where}: a list with at least one entry is needed")
    return value


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
