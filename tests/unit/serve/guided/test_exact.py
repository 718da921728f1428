"""The parts of grammars exactly: sets of characters, integers, quantifiers, limits, and how each is written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from stoker.serve.request.guided import regex
from stoker.serve.request.guided.ebnf import parse_ebnf
from stoker.serve.request.guided.grammar import (
    NOTHING,
    Characters,
    Choice,
    Grammar,
    GuideError,
    Node,
    Repeat,
    Rule,
    Sequence,
    Text,
    characters,
    complement,
    sequence,
    without,
)
from stoker.serve.request.guided.integers import MOST, integers
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.guided.regex import parse_regex
from stoker.serve.request.guided.repetition import in_blocks
from stoker.serve.request.guided.simplify import simplified

A, B = Text("a"), Text("b")


def texts(node: Node) -> Iterator[str]:
    """All of a grammar without rules and endless repetitions."""
    if isinstance(node, Text):
        yield node.value
    elif isinstance(node, Characters):
        yield from (chr(code) for low, high in node.ranges for code in range(low, high + 1))
    elif isinstance(node, Choice):
        yield from itertools.chain.from_iterable(map(texts, node.options))
    elif isinstance(node, Sequence):
        yield from map("".join, itertools.product(*(list(texts(part)) for part in node.parts)))
    else:
        assert isinstance(node, Repeat)
        assert node.most is not None
        for times in range(node.least, node.most + 1):
            yield from texts(Sequence((node.body,) * times))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0), (0, 9), (7, 7), (7, 23), (10, 99), (95, 1203), (100, 101), (-12, 5), (-30, -7), (-1, 0), (-100, -100)],
)
def test_integers_are_all_between_the_bounds_each_once(low: int, high: int) -> None:
    found = sorted(map(int, texts(integers(low, high))))
    assert found == list(range(low, high + 1))
    assert set(texts(integers(low, high))) == set(map(str, range(low, high + 1)))  # without leading zeros


def test_bounds_of_integers_have_up_to_18_digits_in_order() -> None:
    assert list(texts(integers(MOST, MOST))) == ["9" * 18]
    assert list(texts(integers(-MOST, -MOST))) == ["-" + "9" * 18]
    for low, high in ((0, MOST + 1), (-MOST - 1, 0)):
        with pytest.raises(GuideError, match=r"^bounds of integers may have at most 18 digits$"):
            integers(low, high)
    with pytest.raises(GuideError, match=r"^no integer is at least 3 and at most 2$"):
        integers(3, 2)


def test_sets_of_characters_are_sorted_apart_and_without_what_is_cut() -> None:
    assert characters("xz", "ab", "c", "y") == Characters(((97, 99), (120, 122)))
    assert characters((5, 9), (1, 3), (2, 7)) == Characters(((1, 9),))
    assert characters((1, 2), (4, 5)) == Characters(((1, 2), (4, 5)))
    assert without(characters((1, 9)), (4, 5)) == Characters(((1, 3), (6, 9)))
    assert without(characters((1, 9)), (1, 2), (9, 12)) == Characters(((3, 8),))
    assert without(characters((4, 5)), (4, 5)) == Characters(())
    assert without(characters((4, 5)), (6, 7)) == Characters(((4, 5),))
    assert complement(characters((2, 0x10FFFE))) == Characters(((1, 1), (0x10FFFF, 0x10FFFF)))
    assert complement(Characters(())) == Characters(((1, 0xD7FF), (0xE000, 0x10FFFF)))  # no NUL, no surrogate


@pytest.mark.parametrize(
    ("pattern", "node"),
    [
        ("a{2}", Repeat(A, 2, 2)),
        ("a{2,}", Repeat(A, 2, None)),
        ("a{2,3}", Repeat(A, 2, 3)),
        ("a{0,0}", Repeat(A, 0, 0)),
        ("a{99999}", Repeat(A, 99999, 99999)),
        ("a*", Repeat(A, 0, None)),
        ("a+?", Repeat(A, 1, None)),
        ("a?", Repeat(A, 0, 1)),
        ("a|b", Choice((A, B))),
        ("^ab$", Sequence((A, B))),
        ("\\$", Text("$")),
        ("\\\\$", Text("\\")),
        ("a\\\\\\$", Sequence((A, Text("\\"), Text("$")))),
        ("(?:a)", A),
        ("(?P<n>a)", A),
        ("(?<n>a)", A),
        ("\\d", Characters(((48, 57),))),
        ("\\w", Characters(((48, 57), (65, 90), (95, 95), (97, 122)))),
        ("\\s", Characters(((9, 13), (32, 32)))),
        ("\\W", Characters(((1, 47), (58, 64), (91, 94), (96, 96), (123, 127)))),
        ("\\D", Characters(((1, 47), (58, 0x65F)))),
        (".", Characters(((1, 9), (11, 0xD7FF), (0xE000, 0x10FFFF)))),
        ("[a-c-]", Characters(((45, 45), (97, 99)))),
        ("[a-a]", Characters(((97, 97),))),
        ("[\\b\\n]", Characters(((8, 8), (10, 10)))),
        ("[^\\x02-\\uffff]", Characters(((1, 1), (0x10000, 0x10FFFF)))),
        ("\\x41", Text("A")),
        ("\\ud7ff", Text("\ud7ff")),
        ("\\ue000", Text("\ue000")),
        ("\\t\\r\\f\\v", Sequence((Text("\t"), Text("\r"), Text("\f"), Text("\v")))),
    ],
)
def test_a_regular_expression_is_read_as(pattern: str, node: Node) -> None:
    assert parse_regex(pattern) == node


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("ab)", "an unopened ')' at character 2"),
        ("(ab", "an unclosed group at character 3"),
        ("a*b**", "a second quantifier at character 4"),
        ("a{3,2}", "a quantifier at character 6"),
        ("a{}", "a quantifier at character 2"),
        ("a{100000}", "a quantifier at character 8"),
        ("ab+*", "a second quantifier at character 3"),
        ("a+??", "'?' at character 3"),
        ("a^", "'^' at character 1"),
        ("a\\q", "'\\q' at character 3"),
        ("\\ud800", "an escape at character 6"),
        ("\\udfff", "an escape at character 6"),
        ("\\x4", "an escape at character 4"),
        ("[b-a]", "a range at character 4"),
        ("[a-\\d]", "a range at character 5"),
        ("[a", "an unfinished part at character 2"),
        ("(?<=a)", "look-behind at character 1"),
        ("(?=a)", "a group with '?' at character 1"),
    ],
)
def test_what_a_regular_expression_may_not_have_is_said_with_its_place(pattern: str, what: str) -> None:
    with pytest.raises(GuideError) as caught:
        parse_regex(pattern)
    assert str(caught.value) == f"{what} of the regular expression is not supported"


def test_the_longest_and_the_deepest_regular_expression() -> None:
    parse_regex("a" * regex.MAX_LENGTH)
    with pytest.raises(GuideError, match="of 20001 characters is too long: 20000 are allowed"):
        parse_regex("a" * (regex.MAX_LENGTH + 1))
    deepest = regex.MAX_NESTING
    assert parse_regex("(" * deepest + "a" + ")" * deepest) == A
    with pytest.raises(GuideError, match="nesting more than 60 deep"):
        parse_regex("(" * (deepest + 1) + "a" + ")" * (deepest + 1))


@pytest.mark.parametrize(
    ("source", "node"),
    [
        ('root ::= "a"+', Repeat(A, 1)),
        ('root ::= "a"*', Repeat(A)),
        ('root ::= "a"?', Repeat(A, 0, 1)),
        ('root ::= "a"{2,3}', Repeat(A, 2, 3)),
        ('root ::= "a"{2,}', Repeat(A, 2, None)),
        ('root ::= "a"{2}', Repeat(A, 2, 2)),
        ('root ::= "a.b" # of a', Text("a.b")),
        ('root ::= ("a" | "b") ""', characters("ab")),
        ('root ::= other\nother ::= "b"', Rule("own-other")),
    ],
)
def test_a_grammar_is_read_as(source: str, node: Node) -> None:
    assert parse_ebnf(source).rules["own-root"] == node


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('other ::= "a"', "the grammar has no rule 'root'"),
        ('root ::= "a"\nroot ::= "b"', "the rule 'root' is defined twice"),
        ('"a"', "a rule of the grammar begins with its name and ::=, not with '\"a\"'"),
        ('root ::= ("a"', "a group of the grammar is not closed"),
        ('root ::= "a"{3,2}', "{3,2} in the grammar is not a range"),
        ("root ::= *", "'*' has no place there in the grammar"),
        ('root ::= "a"\n\n%', "line 3 of the grammar is not understood at '%'"),
    ],
)
def test_what_a_grammar_may_not_have_is_said(source: str, what: str) -> None:
    with pytest.raises(GuideError) as caught:
        parse_ebnf(source)
    assert str(caught.value) == what


@pytest.mark.parametrize(
    ("node", "written"),
    [
        (Text('a"\\\n\r\t'), '"a\\"\\\\\\n\\r\\t"'),
        (Text(" ~\x7fé😀"), '" ~\\u007f\\u00e9\\U0001f600"'),
        (characters("az", "_", "]"), "[\\u005d_a-z]"),
        (characters((0xFFFF, 0x10000)), "[\\uffff-\\U00010000]"),
        (Repeat(A), '("a")*'),
        (Repeat(A, 1), '("a")+'),
        (Repeat(A, 0, 1), '("a")?'),
        (Repeat(A, 2, 2), '("a"){2}'),
        (Repeat(A, 2), '("a"){2,}'),
        (Repeat(A, 0, 2), '("a"){0,2}'),
        (Repeat(A, 0, 0), '""'),
        (sequence("a", Choice((A, B))), '("a" ("a" | "b"))'),
        (Sequence(()), '""'),
    ],
)
def test_a_grammar_is_written_as(node: Node, written: str) -> None:
    assert guide(Grammar(node, {})).text == f"root ::= {written}\n"


@pytest.mark.parametrize(
    ("node", "simple"),
    [
        (Repeat(Repeat(A)), Repeat(A)),
        (Repeat(Repeat(A, 1), 0, 1), Repeat(A)),
        (Repeat(Repeat(A, 2, 2), 3, 3), Repeat(A, 6, 6)),
        (Repeat(Repeat(A, 2, 2), 0, 3), Repeat(Repeat(A, 2, 2), 0, 3)),
        (Repeat(Repeat(A, 2, 3), 1, 2), Repeat(A, 2, 6)),
        (Repeat(Repeat(A, 3, 4), 1, 2), Repeat(Repeat(A, 3, 4), 1, 2)),  # 5 is not among them
        (Repeat(A, 1, 1), A),
        (Repeat(A, 0, 0), NOTHING),
        (Repeat(NOTHING), NOTHING),
        (sequence("a", "b"), Text("ab")),
        (Sequence((Repeat(A, 1, 2), Repeat(A, 2, 3))), Repeat(A, 3, 5)),
        (Sequence((Repeat(A, 1, 2), Repeat(A, 2))), Repeat(A, 3)),
        (Choice((A, B, A)), characters("ab")),
        (Choice((A, A)), A),
        (Repeat(Sequence((Repeat(A), Repeat(B)))), Repeat(characters("ab"))),
    ],
)
def test_the_same_texts_with_less_to_follow(node: Node, simple: Node) -> None:
    assert simplified(node) == simple


def test_repetitions_of_up_to_18_are_left_and_longer_ones_are_blocks_of_8_to_64() -> None:
    for left in (Repeat(A, 18, 18), Repeat(A, 0, 18), Repeat(A, 18), Repeat(A)):
        assert in_blocks(Grammar(left, {})) == Grammar(left, {})
    for times, size in ((19, 8), (81, 9), (5_000, 64)):
        rules = in_blocks(Grammar(Repeat(A, times, times), {})).rules
        assert list(rules.values()) == [A, Repeat(Rule("block0"), size, size)]
