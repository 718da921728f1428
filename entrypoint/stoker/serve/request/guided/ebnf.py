"""Grammars that a client writes, in the notation of llama.cpp's GBNF and xgrammar's EBNF.

    root ::= "yes" | "no" detail?
    detail ::= ", " [a-z]{1,20}     # a comment

Texts in double quotes, classes in brackets, groups, alternatives, and * + ? {n} {n,} {n,m}. The rule `root` is the
whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stoker.serve.request.guided.ambiguity import check_ways
from stoker.serve.request.guided.checks import check, used_rules
from stoker.serve.request.guided.grammar import Grammar, GuideError, Node, Repeat, Rule, Sequence, Text, choice
from stoker.serve.request.guided.regex import parse_regex
from stoker.serve.request.guided.simplify import simplified

MAX_NESTING = 60
MAX_LENGTH = 100_000
_TOKEN = re.compile(
    r"""(?P<blank>(?:\s|\#[^\n]*)+)
    | (?P<rule>[A-Za-z_][A-Za-z0-9_-]*)(?P<assigned>\s*::=)?
    | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<class>\[(?:[^\]\\\n]|\\.)+\])
    | (?P<times>[*+?]|\{\d{1,5}(?:,\d{0,5})?\})
    | (?P<sign>[()|])""",
    re.VERBOSE,
)
_PLAIN_TIMES: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}

_Token = tuple[str, str]


def parse_ebnf(source: str) -> Grammar:
    """Raises GuideError that says where, or that an engine cannot follow it cheaply."""
    if len(source) > MAX_LENGTH:
        raise GuideError(f"a grammar of {len(source)} characters is too long: {MAX_LENGTH} are allowed")
    rules = _Parser(list(_tokens(source))).rules()
    if "root" not in rules:
        raise GuideError("the grammar has no rule 'root'")
    grammar = Grammar(Rule(_inner("root")), {_inner(name): simplified(node) for name, node in rules.items()})
    check({"root": grammar.root, **used_rules(grammar)})
    check_ways(grammar.root, grammar.rules)
    return grammar


def _inner(name: str) -> str:
    """Apart from the names that we give."""
    return "own-" + name


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            line = source.count("\n", 0, at) + 1
            raise GuideError(f"line {line} of the grammar is not understood at {source[at : at + 20]!r}")
        at = match.end()
        if match["rule"]:
            yield ("define" if match["assigned"] else "rule"), match["rule"]
        elif match.lastgroup != "blank":
            yield str(match.lastgroup), match[0]


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def rules(self) -> dict[str, Node]:
        rules: dict[str, Node] = {}
        while self._peek()[0] != "end":
            kind, name = self._take()
            if kind != "define":
                raise GuideError(f"a rule of the grammar begins with its name and ::=, not with {name!r}")
            if name in rules:
                raise GuideError(f"the rule {name!r} is defined twice")
            rules[name] = self._alternatives(0)
        return rules

    def _alternatives(self, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise GuideError(f"the grammar is nested more than {MAX_NESTING} deep")
        options = [self._parts(depth)]
        while self._peek() == ("sign", "|"):
            self._take()
            options.append(self._parts(depth))
        return choice(options)

    def _parts(self, depth: int) -> Node:
        parts: list[Node] = []
        while (token := self._peek())[0] not in ("end", "define") and token[1] not in ("|", ")"):
            parts.append(self._repeated(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self, depth: int) -> Node:
        kind, written = self._take()
        if kind == "text":
            return parse_regex(_without_meaning(written[1:-1])) if len(written) > 2 else Text("")
        if kind == "class":
            return parse_regex(written)
        if kind == "rule":
            return Rule(_inner(written))
        if (kind, written) != ("sign", "("):
            raise GuideError(f"{written!r} has no place there in the grammar")
        node = self._alternatives(depth + 1)
        if self._take() != ("sign", ")"):
            raise GuideError("a group of the grammar is not closed")
        return node

    def _repeated(self, node: Node) -> Node:
        while self._peek()[0] == "times":
            node = Repeat(node, *_times(self._take()[1]))
        return node


def _times(written: str) -> tuple[int, int | None]:
    if written in _PLAIN_TIMES:
        return _PLAIN_TIMES[written]
    least, comma, most = written[1:-1].partition(",")
    bounds = int(least), (int(most) if most else None) if comma else int(least)
    if bounds[1] is not None and bounds[1] < bounds[0]:
        raise GuideError(f"{written} in the grammar is not a range")
    return bounds


def _without_meaning(text: str) -> str:
    """A text in quotes has the escapes of a regular expression, and no other sign that means anything."""
    return re.sub(r"\\.|[][().*+?{}|^$]", lambda sign: sign[0] if sign[0][0] == "\\" else "\\" + sign[0], text)
