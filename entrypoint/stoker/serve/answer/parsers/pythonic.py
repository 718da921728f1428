"""Calls as Python writes them: `[f(a=1, b="x"), g()]`. Llama 3.2 and 4 give them bare, Gemma in a block of tool_code.

An argument is given out once it is complete: only then is its value known to be one.
"""

from __future__ import annotations

import ast
import json
import re

from stoker.serve.answer.parsers.call import Call
from stoker.serve.answer.parsers.json_scan import NotACallError
from stoker.serve.answer.parsers.tools import Form

_NAME = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_.]*\s*")
_SIGNS = re.compile(r"""["'\\()\[\]{},]""")
_LONGEST_ARGUMENT = 1 << 20


class PythonicCall:
    """`name(keyword=literal, ...)`"""

    def __init__(self, call: Call) -> None:
        self.at = 0
        self._call = call
        self._name: str | None = None
        self._head = ""
        self._parts: list[str] = []
        self._depth = 0
        self._quote = ""
        self._escaped = False
        self._count = 0

    def feed(self, text: str) -> str | None:
        if self._name is None:
            start = self._read_name(text)
            if start is None:
                return None
        else:
            start = 0
        return self._read_arguments(text, start)

    def _read_name(self, text: str) -> int | None:
        """The index behind the opening parenthesis, None while there is none."""
        for index, character in enumerate(text):
            self.at = index
            if character == "(":
                self._name = self._head.strip()
                self._call.name(self._name)
                return index + 1
            self._head += character
            if not _NAME.fullmatch(self._head):
                raise NotACallError
        return None

    def _read_arguments(self, text: str, at: int) -> str | None:
        begun = at
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            match = _SIGNS.search(text, at)
            if match is None:
                break
            at = match.end()
            if self._see(match[0]):
                self._parts.append(text[begun : match.start()])
                begun = self.at = at
                if self._finish(over=match[0] == ")"):
                    return text[at:]
        self._parts.append(text[begun:])
        return None

    def _see(self, sign: str) -> bool:
        """Whether an argument ends here."""
        if sign == "\\":
            self._escaped = bool(self._quote)
        elif self._quote:
            self._quote = "" if sign == self._quote else self._quote
        elif sign in "\"'":
            self._quote = sign
        elif self._depth == 0 and sign in ",)":
            return True
        elif sign in "([{":
            self._depth += 1
        elif sign in ")]}":
            self._depth -= 1
        return False

    def _finish(self, *, over: bool) -> bool:
        written, self._parts = "".join(self._parts).strip(), []
        if written:
            keyword, equals, value = written.partition("=")
            if not equals or not keyword.strip().isidentifier():
                raise NotACallError
            lead = ", " if self._count else "{"
            self._count += 1
            self._call.arguments(f"{lead}{json.dumps(keyword.strip())}: {_as_json(value.strip())}")
        if over and self._count:
            self._call.arguments("}")
        if over:
            self._call.end()
        return over


def _as_json(literal: str) -> str:
    """A Python literal, or JSON's own words for the same."""
    words = {"true": "true", "false": "false", "null": "null"}
    if literal in words:
        return words[literal]
    if len(literal) > _LONGEST_ARGUMENT:
        raise NotACallError
    try:
        return json.dumps(ast.literal_eval(literal), ensure_ascii=False, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise NotACallError from None


def _begins(character: str) -> bool:
    return character.isalpha() or character == "_"


PYTHONIC = Form(("<|python_start|>",), ("<|python_end|>",), ("[",), _begins, PythonicCall)
GEMMA = Form(("```tool_code\n",), ("```",), (), _begins, PythonicCall)
