"""What clients ask for is bounded in size and in the ways that an engine must follow: more is a 400."""

from __future__ import annotations

import itertools
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from stoker.serve.answer.parsers.families import BARE
from stoker.serve.http.errors import ApiError
from stoker.serve.request.guided import json_schema
from stoker.serve.request.guided.ambiguity import check_ways
from stoker.serve.request.guided.calls import MAX_CALLS, calls_grammar
from stoker.serve.request.guided.ebnf import parse_ebnf
from stoker.serve.request.guided.grammar import (
    Characters,
    Choice,
    Grammar,
    GuideError,
    Node,
    Repeat,
    Sequence,
    Text,
    characters,
)
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.guided.regex import followable_regex, parse_regex
from stoker.serve.request.guided.simplify import simplified
from stoker.serve.request.requests import ChatRequest, FunctionDefinition, FunctionTool, Message
from stoker.serve.request.tool_use import tool_use

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


TEXTS = ["".join(letters) for length in range(6) for letters in itertools.product("ab", repeat=length)]
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


def random_node(chance: random.Random, depth: int) -> Node:
    kind = chance.choice(["text", "set", "sequence", "choice", "repeat", "repeat"]) if depth else "text"
    if kind == "text":
        return Text(chance.choice(["a", "b", "ab", "ba", ""]))
    if kind == "set":
        return characters("ab")
    if kind == "repeat":
        least = chance.randrange(3)
        return Repeat(random_node(chance, depth - 1), least, chance.choice([None, least, least + 1, least + 2]))
    parts = tuple(random_node(chance, depth - 1) for _ in range(chance.randrange(2, 4)))
    return Sequence(parts) if kind == "sequence" else Choice(parts)


def pattern_of(node: Node) -> str:
    if isinstance(node, Text):
        return re.escape(node.value)
    if isinstance(node, Characters):
        return "[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in node.ranges) + "]"
    if isinstance(node, Repeat):
        most = "" if node.most is None else node.most
        return f"(?:{pattern_of(node.body)}){{{node.least},{most}}}"
    if isinstance(node, Choice):
        return "(?:" + "|".join(map(pattern_of, node.options)) + ")"
    assert isinstance(node, Sequence)
    return "".join(map(pattern_of, node.parts))


def test_what_is_simplified_matches_the_same_texts() -> None:
    chance = random.Random(5)
    for _ in range(400):
        node = random_node(chance, 3)
        simpler = simplified(node)
        one, other = re.compile(pattern_of(node)), re.compile(pattern_of(simpler))
        for text in TEXTS:
            assert bool(one.fullmatch(text)) == bool(other.fullmatch(text)), (text, node, simpler)


class Positions:
    """Glushkov's automaton of a node without rules, every repetition written out."""

    def __init__(self, node: Node) -> None:
        self.letters: list[tuple[tuple[int, int], ...]] = []
        self.follow: dict[int, set[int]] = {}
        self.first, self.last, self.empty = self._add(node)

    def most_at_once(self, text: str) -> int:
        active = {place for place in self.first if self._fits(place, text[0])} if text else set()
        most = len(active)
        for letter in text[1:]:
            active = {after for place in active for after in self.follow[place] if self._fits(after, letter)}
            most = max(most, len(active))
        return most

    def _fits(self, place: int, letter: str) -> bool:
        return any(low <= ord(letter) <= high for low, high in self.letters[place])

    def _place(self, ranges: tuple[tuple[int, int], ...]) -> tuple[set[int], set[int], bool]:
        self.letters.append(ranges)
        self.follow[len(self.letters) - 1] = set()
        return {len(self.letters) - 1}, {len(self.letters) - 1}, False

    def _add(self, node: Node) -> tuple[set[int], set[int], bool]:
        if isinstance(node, Characters):
            return self._place(node.ranges)
        if isinstance(node, Text):
            return self._joined([self._place(((ord(each), ord(each)),)) for each in node.value])
        if isinstance(node, Sequence):
            return self._joined([self._add(part) for part in node.parts])
        if isinstance(node, Choice):
            options = [self._add(option) for option in node.options]
            firsts, lasts, empty = zip(*options, strict=True)
            return set[int]().union(*firsts), set[int]().union(*lasts), any(empty)
        assert isinstance(node, Repeat)
        return self._repeated(node)

    def _repeated(self, node: Repeat) -> tuple[set[int], set[int], bool]:
        """X{0,2} as (X(X)?)?"""
        whole: tuple[set[int], set[int], bool] = (set(), set(), True)
        if node.most is None:
            first, last, _ = self._add(node.body)
            self._link(last, first)
            whole = first, last, True
        for left in range(node.least if node.most is None else node.most):
            optional = node.most is not None and node.most - left > node.least
            first, last, empty = self._joined([self._add(node.body), whole])
            whole = first, last, empty or optional
        return whole

    def _joined(self, parts: list[tuple[set[int], set[int], bool]]) -> tuple[set[int], set[int], bool]:
        first: set[int] = set()
        last: set[int] = set()
        empty = True
        for begins, ends, may_miss in parts:
            self._link(last, begins)
            first = first | begins if empty else first
            last, empty = (last | ends if may_miss else ends), empty and may_miss
        return first, last, empty

    def _link(self, last: set[int], first: set[int]) -> None:
        for place in last:
            self.follow[place] |= first


def test_there_are_never_more_ways_than_are_counted() -> None:
    """Except texts that begin alike, which an engine follows as one."""
    chance = random.Random(6)
    for _ in range(400):
        node = simplified(random_node(chance, 3))
        try:
            counted = check_ways(node)
        except GuideError:
            continue
        texts = sum(isinstance(each, Text) for each in _parts(node))
        positions = Positions(node)
        assert max(map(positions.most_at_once, TEXTS)) <= counted + texts, node


def _parts(node: Node) -> list[Node]:
    below = {Sequence: "parts", Choice: "options"}.get(type(node))
    children = getattr(node, below) if below else (node.body,) if isinstance(node, Repeat) else ()
    return [node, *(each for child in children for each in _parts(child))]


PLAIN = [
    *("(.*)*" * 20, "((.*)*)*", "([a-z]*b?)*" * 10, "(a|b)*abb", r"[\w.+-]+@[\w-]+\.[\w.-]+", "(\\w+ ?)+", ".*a.*b.*"),
    *(r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}", ".{0,8000}", "(\\w+, ){0,40}"),
    *(r"(https?|ftp)://[^\s/$.?#].[^\s]*", r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?"),
]
TOO_MUCH = [
    *("(((.{0,65}){0,65}){0,65}){0,65}", "((((a?){0,99}b?){0,99}c?){0,99}d?){0,99}", ".{0,99999}", "(\\w+ ?){1,400}"),
    *("(a|aa|aaa){0,400}", "((a|b)?c?){0,900}", "(.*a){50}.*", "a" * 30_000, "(((a{50}b?){50}c?){50}d?){50}"),
    *("((x{0,50}y{0,50}){0,50}z{0,50}){0,50}", "(.{3,9}.?x?){2,900}", "[^a]*" + ".*b" * 200),
]


@pytest.mark.parametrize("pattern", PLAIN, ids=range(len(PLAIN)))
def test_plain_expressions_are_taken(pattern: str) -> None:
    guide(Grammar(followable_regex(pattern), {}))


@pytest.mark.parametrize("pattern", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_expressions_with_too_many_ways_are_refused(ask: Ask, pattern: str) -> None:
    with pytest.raises(GuideError, match=r"ambiguous|too large|too long"):
        followable_regex(pattern)
    answer = ask("/v1/chat/completions", {**CHAT, "guided_regex": pattern})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_guide")
    schema = {"type": "string", "pattern": pattern}
    answer = ask("/v1/chat/completions", {**CHAT, "guided_json": schema})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_guide")


def nested_rules(*names: str) -> str:
    below = zip(names, [*names[1:], "[a-z]"], strict=True)
    return "root ::= a\n" + "\n".join(f"{name} ::= ({inner}{{0,65}} [0-9]?){{0,65}}" for name, inner in below)


GRAMMARS = [
    nested_rules("a", "b", "c"),
    "root ::= [a-z] " + "root? " * 40,
    "root ::= x x x x x x x x x x x x x x x x x\nx ::= ([a-z]* y?)*\ny ::= ([a-z]* x?)* 'b'".replace("'", '"'),
    "root ::= " + "a " * 60_000,
    "\n".join(f"r{number} ::= r{number + 1}" for number in range(3000)) + '\nr3000 ::= "a"\nroot ::= r0',
    "root ::= " + "(" * 5000 + '"a"' + ")" * 5000,
    "root ::= ([a-z]{0,90} [0-9]? ){0,99999}",
    "root ::= root",
    "root ::= root root",
]
JSON = r"""
root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= "" | " " | "\n" [ \t]{0,20}
"""


@pytest.mark.parametrize("source", GRAMMARS, ids=range(len(GRAMMARS)))
def test_grammars_with_too_many_ways_are_refused(ask: Ask, source: str) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, "guided_grammar": source})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_guide")


def test_the_grammar_of_json_is_taken() -> None:
    guide(parse_ebnf(JSON))


def chain(length: int) -> dict[str, Any]:
    links = {str(each): {"type": "array", "items": {"$ref": f"#/$defs/{each + 1}"}} for each in range(length)}
    return {"$ref": "#/$defs/0", "$defs": {**links, str(length): {"type": "null"}}}


def properties(count: int, schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {f"name{each}": schema for each in range(count)}}


HUGE = 10**400
SCHEMAS: list[Any] = [
    *({"type": kind, bound: HUGE} for kind in ("integer", "number") for bound in ("minimum", "maximum")),
    *({"type": kind, bound: -HUGE} for kind in ("integer", "number") for bound in ("exclusiveMinimum", "maximum")),
    {"type": "integer", "minimum": 1e308},
    {"type": "integer", "multipleOf": HUGE},
    *({"type": "string", bound: HUGE} for bound in ("minLength", "maxLength")),
    *({"type": "array", bound: HUGE} for bound in ("minItems", "maxItems")),
    {"type": "array", "items": {"type": "string", "minLength": 8000}, "prefixItems": [{}] * 30_000},
    {"type": "object", "patternProperties": {"(.*)*": {}}},
    {"type": "object", "propertyNames": {"pattern": "(.*)*"}},
    {"type": "object", "minProperties": HUGE},
    {"enum": list(range(100_000))},
    {"enum": ["x" * 100_000]},
    {"const": ["x" * 1000] * 100},
    {"oneOf": [{"type": "object", "properties": {"k": {"const": n}}, "required": ["k"]} for n in range(3000)]},
    {"anyOf": [{"type": "string", "pattern": f".*{n}[a-z]*"} for n in range(200)]},
    {"anyOf": [{"type": "string", "pattern": f"(\\w+ ?){{1,30}}{n}"} for n in range(200)]},
    {"$ref": "#"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"$ref": "#" + "/a" * 100_000},
    chain(3000),
    properties(4000, {"type": "string", "maxLength": 8000}),
    properties(300, properties(300, {"type": "integer", "minimum": 123456789, "maximum": 987654321987654321})),
    {"type": "object", "properties": {f"{'n' * each}x": {} for each in range(99)}, "additionalProperties": {}},
]


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_schemas_of_any_size_are_refused_or_taken_within_bounds(ask: Ask, schema: Any) -> None:
    """By every way that leads to a grammar, and never with a fault of the server's."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": schema}}, "strict": True}}
    for asked in ({"response_format": form}, {"guided_json": schema}, {"tools": [tool], "tool_choice": "required"}):
        answer = ask("/v1/chat/completions", {**CHAT, **asked})
        assert answer.status in (200, 400), answer.text[:300]
        if answer.status == 400:
            assert answer.error["code"] in ("unsupported_guide", "context_length_exceeded", "too_many_values")


@pytest.mark.parametrize("count", [100_000, 1])
def test_choices_are_counted_before_anything_is_made_of_them(ask: Ask, count: int) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, "guided_choice": ["x" * (100_000 // count)] * count})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_guide")


def test_a_set_of_characters_is_one_part_however_it_is_written() -> None:
    assert simplified(parse_regex("a|b|[c-d]|(e|f)")) == characters("af")


def test_the_schemas_of_all_tools_have_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tools there are, no more is made than one grammar may have."""
    made = []
    made_of = json_schema.integer

    def counted(schema: Any, where: str) -> Node:
        made.append(where)
        return made_of(schema, where)

    monkeypatch.setattr(json_schema, "integer", counted)
    bounds = {"type": "integer", "minimum": 123456789, "maximum": 987654321987654321}
    parameters: dict[str, object] = {"properties": {f"p{each}": bounds for each in range(30)}}
    tools = [
        FunctionTool(type="function", function=FunctionDefinition(name=f"f{n}", parameters=parameters))
        for n in range(100)
    ]
    use = tool_use(
        ChatRequest(model="m", messages=[Message(role="user", content="x")], tools=tools, tool_choice="required")
    )
    assert use is not None
    with pytest.raises(ApiError, match="too large"):
        calls_grammar(use, BARE, opening=True)
    assert len(made) < 200


@pytest.mark.parametrize(("several", "most"), [(True, MAX_CALLS), (False, 1)])
def test_calls_that_must_be_made_are_so_many_at_most(several: bool, most: int) -> None:
    tools = [FunctionTool(type="function", function=FunctionDefinition(name="f"))]
    asked: dict[str, Any] = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": several}
    use = tool_use(ChatRequest(model="m", messages=[Message(role="user", content="x")], **asked))
    assert use is not None
    root = calls_grammar(use, BARE, opening=True).root
    assert isinstance(root, Sequence)
    (more,) = (part for part in root.parts if isinstance(part, Repeat))
    assert 1 + (more.most or 0) == most
