"""Where JSON values end, and what is in the objects that calls are written as, in text that arrives in pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stoker.json_text import parse_json
from stoker.serve.answer.parsers.call import Call

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_SCALAR_END = re.compile(r"[\s,}\]]")
_BLANK = re.compile(r"\s*")


class NotACallError(ValueError):
    """The text is no call after all."""


class ValueScanner:
    """Finds the end of one JSON value. Strings are only followed as far as their ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._scalar = False
        self._begun = False

    def end_in(self, text: str, at: int) -> int | None:
        """The index after the value's last character, None if that is not in this piece."""
        if not self._begun and at < len(text):
            self._begun = True
            self._scalar = text[at] not in '"{['
        if self._scalar:
            match = _SCALAR_END.search(text, at)
            return match.start() if match else None
        return self._structured_end(text, at)

    def _structured_end(self, text: str, at: int) -> int | None:
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            match = (_INSIDE if self._in_string else _OUTSIDE).search(text, at)
            if match is None:
                return None
            at = match.end()
            self._see(match[0])
            if not self._in_string and not self._escaped and self._depth == 0:
                return at
        return None

    def _see(self, sign: str) -> None:
        if sign == "\\":
            self._escaped = True
        elif sign == '"':
            self._in_string = not self._in_string
        else:
            self._depth += 1 if sign in "{[" else -1


class CallObject:
    """One `{"name": ..., "arguments": {...}}`, in any order and with anything else in it.

    `feed` gives what is left of the text after the object, None if it is not over. NotACallError when it is not one;
    `at` is then where in the text that shows.
    """

    def __init__(self, call: Call, argument_keys: Sequence[str]) -> None:
        self.at = 0
        self._call = call
        self._argument_keys = argument_keys
        self._phase = "open"
        self._key = ""
        self._scanner = ValueScanner()
        self._parts: list[str] = []
        self._streaming = False

    def feed(self, text: str) -> str | None:
        at = 0
        while at < len(text):
            if self._phase in ("key text", "value"):
                following = self._value(text, at)
                if following is None:
                    return None
                at = following
            else:
                at = self._sign(text, at)
            if self._phase == "over":
                return text[at:]
        return None

    def _sign(self, text: str, at: int) -> int:
        """Between values."""
        blank = _BLANK.match(text, at)
        assert blank is not None
        at = blank.end()
        if at == len(text):
            return at
        sign = text[at]
        self.at = at
        if self._phase == "colon value":
            self._begin("value", sign)
            return at
        expected = {"open": "{", "key": '"}', "colon": ":", "comma": ",}"}[self._phase]
        if sign not in expected:
            raise NotACallError
        if sign == '"':
            self._begin("key text", sign)
            return at
        self._phase = {"{": "key", "}": "over", ":": "colon value", ",": "key"}[sign]
        if self._phase == "over":
            self._call.end()
        return at + 1

    def _begin(self, phase: str, sign: str) -> None:
        self._phase = phase
        self._scanner = ValueScanner()
        self._parts = []
        self._streaming = phase == "value" and self._key in self._argument_keys and sign == "{"

    def _value(self, text: str, at: int) -> int | None:
        end = self._scanner.end_in(text, at)
        piece = text[at : len(text) if end is None else end]
        if self._streaming:
            self._call.arguments(piece)
        else:
            self._parts.append(piece)
        if end is not None:
            self.at = end
            self._finish()
        return end

    def _finish(self) -> None:
        if self._phase == "key text":
            self._key = _text("".join(self._parts))
            self._phase = "colon"
            return
        if self._key == "name":
            self._call.name(_text("".join(self._parts)))
        elif self._key in self._argument_keys and not self._streaming:
            self._call.arguments(_arguments("".join(self._parts)))
        elif self._key == "function" and not self._streaming:
            self._nested("".join(self._parts))
        self._phase = "comma"

    def _nested(self, written: str) -> None:
        """OpenAI's form: the call is an object in the object."""
        if not written.startswith("{"):
            self._call.name(_text(written))
        elif CallObject(self._call, self._argument_keys).feed(written) is None:
            raise NotACallError


def _text(written: str) -> str:
    try:
        value = parse_json(written)
    except ValueError:
        raise NotACallError from None
    if not isinstance(value, str):
        raise NotACallError
    return value


def _arguments(written: str) -> str:
    """Arguments that are not an object: JSON in a string, or nothing."""
    if written == "null":
        return "{}"
    return _text(written) or "{}"
