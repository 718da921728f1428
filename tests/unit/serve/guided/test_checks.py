"""How large a grammar may be, to the part, and that it has an end."""

from __future__ import annotations

import pytest

from stoker.serve.request.guided import checks
from stoker.serve.request.guided.ambiguity import MAX_WAYS, check_ways
from stoker.serve.request.guided.checks import check_count, check_texts, part_count, used_rules
from stoker.serve.request.guided.grammar import (
    Choice,
    Grammar,
    GuideError,
    Node,
    Repeat,
    Rule,
    Sequence,
    Text,
    characters,
)
from stoker.serve.request.guided.regex import parse_regex

A = Text("a")


def nested(depth: int) -> Node:
    node: Node = Rule("x")
    for _ in range(depth):
        node = Sequence((node,))
    return node


@pytest.mark.parametrize(
    ("node", "count"),
    [
        (Text(""), 1),
        (Text("ab"), 3),
        (characters("az", "09"), 3),
        (Rule("x"), 1),
        (Sequence((A, A)), 5),
        (Choice((A, Text(""))), 4),
        (Repeat(A), 3),
        (Repeat(A, 2), 7),  # twice, and once for any number more
        (Repeat(A, 2, 3), 7),
        (Repeat(A, 3, 3), 9),
        (Repeat(A, 0, 5), 11),
    ],
)
def test_parts_are_what_an_engine_makes_of_it(node: Node, count: int) -> None:
    assert part_count(node) == count


def test_nesting_up_to_the_limit() -> None:
    assert part_count(nested(checks.MAX_DEPTH)) == checks.MAX_DEPTH + 1
    assert used_rules(Grammar(nested(checks.MAX_DEPTH), {"x": A, "y": A})) == {"x": A}
    for counted in (part_count, lambda node: used_rules(Grammar(node, {"x": A}))):
        with pytest.raises(GuideError, match=r"^it is nested more than 200 deep$"):
            counted(nested(checks.MAX_DEPTH + 1))


def test_rules_and_texts_up_to_the_limit() -> None:
    check_count({str(number): A for number in range(checks.MAX_RULES)})
    with pytest.raises(GuideError, match="its grammar has 2001 rules, and 2000 are allowed"):
        check_count({str(number): A for number in range(checks.MAX_RULES + 1)})
    check_texts(["a" * (checks.MAX_SIZE - 2), ""], "it")
    with pytest.raises(GuideError, match="its texts have 20001 characters and ends, and 20000 are allowed"):
        check_texts(["a" * (checks.MAX_SIZE - 2), "a"], "it")


def test_ways_up_to_the_limit() -> None:
    assert check_ways(parse_regex("a*" * MAX_WAYS)) == MAX_WAYS
    for ways in (65, 66):
        with pytest.raises(GuideError, match=f"one text can match it in {ways} ways at once, and 64 are allowed"):
            check_ways(parse_regex("a*" * ways))


def test_a_grammar_up_to_the_limit() -> None:
    checks.check({"root": Text("a" * (checks.MAX_SIZE - 1))})
    with pytest.raises(GuideError, match="its grammar has 20001 parts, and 20000 are allowed"):
        checks.check({"root": Text("a" * checks.MAX_SIZE)})


def test_a_grammar_ends_and_begins_with_something() -> None:
    checks.check({"root": Choice((A, Sequence((A, Rule("root")))))})
    checks.check({"root": Sequence((A, Repeat(Rule("root"))))})
    with pytest.raises(GuideError, match="no text of finite length"):
        checks.check({"root": Sequence((A, Repeat(Rule("root"), 1)))})
    with pytest.raises(GuideError, match=r"^no text of finite length fits it \(rule 'root'\)$"):
        checks.check({"root": Sequence((A, Rule("root")))})
    with pytest.raises(GuideError, match=r"^it refers to itself without an end \(rule 'root'\)$"):
        checks.check({"root": Choice((A, Sequence((Rule("root"), A))))})
