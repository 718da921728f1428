"""Regular expressions and grammars of the client's, and how a grammar is written for the engine."""

from __future__ import annotations

import importlib.util
import random
import re
from pathlib import Path

import pytest

from stoker.serve.request.guided.ebnf import parse_ebnf
from stoker.serve.request.guided.grammar import Grammar, GuideError, Repeat, Rule, Text, characters, choice, sequence
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.guided.regex import parse_regex
from stoker.serve.request.guided.repetition import in_blocks

_spec = importlib.util.spec_from_file_location("derivation", Path(__file__).with_name("derivation.py"))
assert _spec is not None
assert _spec.loader is not None
derivation = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(derivation)


REGULAR = [
    *("abc", "a|bc|", "^(a|b)+c?$", "[a-z0-9_]{2,5}", "[^a-z]", "\\d{3}-\\d{4}", "\\w+@\\w+\\.com", "(?:x(?P<y>z))*"),
    *(".{0,70}", "a{65,}", "[]a]", "[a\\-z]", "\\x41\\u00e9", "\\$\\\\$", "\\S\\s\\D\\W", "", "a{200}", "(a*)*b"),
    *("[\\d\\]]+?", "{a}", "\\{a\\}"),
]
IRREGULAR = [
    *("(", ")", "a)", "[", "[]", "*", "a{3,2}", "a{99999999}", "(?i)a", "(?<=a)b", "(?!a)", "\\1", "\\p{L}", "a^b"),
    *("\\ud800", "\\x4", "x{1}{2}", "a**", "a|*"),
]


@pytest.mark.parametrize("pattern", REGULAR)
def test_texts_of_a_regular_expression_match_it(pattern: str) -> None:
    grammar = Grammar(parse_regex(pattern), {})
    guide(grammar)
    random_ = random.Random(1)
    for _ in range(50):
        text = derivation.derive(in_blocks(grammar), random_)
        assert re.fullmatch(pattern, text), repr(text)


@pytest.mark.parametrize("pattern", IRREGULAR)
def test_irregular_expressions_are_refused(pattern: str) -> None:
    with pytest.raises(GuideError):
        guide(Grammar(parse_regex(pattern), {}))


def test_repetitions_in_blocks_are_of_the_same_lengths() -> None:
    for least, most in ((0, 65), (3, 130), (64, 64), (100, 300), (70, None)):
        grammar = in_blocks(Grammar(Repeat(Text("a"), least, most), {}))
        assert _lengths(grammar, 400) == set(range(least, min(most or 400, 400) + 1))


def _lengths(grammar: Grammar, limit: int) -> set[int]:
    """Of all texts of a grammar without recursion."""

    def of(node: object) -> set[int]:
        if isinstance(node, Text):
            return {len(node.value)}
        if isinstance(node, Rule):
            return of(grammar.rules[node.name])
        if isinstance(node, Repeat):
            return _repeated(of(node.body), node.least, limit if node.most is None else node.most)
        parts = [of(part) for part in getattr(node, "parts", getattr(node, "options", ()))]
        if hasattr(node, "options"):
            return set().union(*parts)
        total = {0}
        for part in parts:
            total = {one + other for one in total for other in part if one + other <= limit}
        return total

    def _repeated(body: set[int], least: int, most: int) -> set[int]:
        (step,) = body or {0}
        return {step * times for times in range(least, most + 1) if step * times <= limit}

    # blocks are exact, what is left of one is a range: each body has one length except the outermost
    return of(grammar.root)


def test_a_grammar_is_read_and_written() -> None:
    grammar = parse_ebnf('root ::= "say \\"" word{1,3} "\\"" | [^x-z]  # either\nword ::= [a-c]+ (" " | "-")? ')
    random_ = random.Random(2)
    for _ in range(50):
        assert re.fullmatch('say "([a-c]+[ -]?){1,3}"|[^x-z]', derivation.derive(grammar, random_), re.DOTALL)
    assert guide(grammar).text.startswith("root ::= own-root\n")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "no rule 'root'"),
        ('word ::= "a"', "no rule 'root'"),
        ("root ::= other", "used and not defined"),
        ('root ::= root "a" | "b"', "refers to itself"),
        ('root ::= a? root "x" | "b"\na ::= "c"', "refers to itself"),
        ('root ::= "a" root', "finite length"),
        ('root ::= ("a"', "not closed"),
        ('root ::= "a', "line 1"),
        ("start: WORD", "line 1"),
        ('root ::= "a"{3,1}', "not a range"),
        ('root ::= "a"\nroot ::= "b"', "twice"),
        ("root ::= " + "[a-b]" * 11000, "too large"),
        ("root ::= " + "(" * 500 + '"a"' + ")" * 500, "deep"),
        ("\n".join(["root ::= r0", *(f'r{i} ::= r{i + 1} "x"' for i in range(5000)), 'r5000 ::= "y"']), "rules"),
    ],
)  # fmt: skip
def test_a_grammar_that_no_engine_can_follow_is_refused(source: str, says: str) -> None:
    with pytest.raises(GuideError, match=says):
        guide(parse_ebnf(source))


def test_characters_are_written_so_that_none_means_anything_else() -> None:
    text = 'a"b\\c\nd]e^f-g\x7f\u20ac\U0001f600'
    written = guide(Grammar(sequence(text, characters(*sorted(set(text)))), {})).text
    assert written.isascii()
    assert '\\"b\\\\c\\nd]e^f-g\\u007f\\u20ac\\U0001f600"' in written
    assert "\\x" not in written


def test_a_set_of_choices_is_never_empty() -> None:
    with pytest.raises(GuideError, match="finite"):
        guide(Grammar(choice([]), {}))
