"""Mistral: `[TOOL_CALLS]` before a JSON list of calls, or since 2025 before `name[ARGS]{...}`, again for each call."""

from __future__ import annotations

import re

from stoker.serve.answer.parsers.call import Call
from stoker.serve.answer.parsers.json_scan import CallObject, NotACallError, ValueScanner
from stoker.serve.answer.parsers.tools import Form, Reader

_ARGUMENTS = "[ARGS]"
_NAME = re.compile(r"[A-Za-z0-9_.-]*")
_CALL_ID = re.compile(r"\[CALL_ID\][A-Za-z0-9]*")
_LONGEST_HEAD = 160


class NamedCall:
    """`name[ARGS]{...}`, `name[CALL_ID]id[ARGS]{...}` or `name{...}`."""

    def __init__(self, call: Call) -> None:
        self.at = 0
        self._call = call
        self._head = ""
        self._scanner: ValueScanner | None = None

    def feed(self, text: str) -> str | None:
        if self._scanner is None:
            before = len(self._head)
            self._head += text
            start = self._head.find("{")
            self._check_head(before, start)
            if start < 0:
                return None
            self._begin(self._head[:start])
            text = self._head[start:]
        return self._arguments(text)

    def _check_head(self, before: int, start: int) -> None:
        """Where a character has no place in the head of a call, it is none; at the same place however it was cut."""
        head = self._head if start < 0 else self._head[:start]
        for index in range(before, len(head)):
            if not _may_be_head(head[: index + 1]):
                self.at = index - before
                raise NotACallError

    def _begin(self, head: str) -> None:
        self._scanner = ValueScanner()
        name = _NAME.match(head)
        assert name is not None
        rest = _CALL_ID.sub("", head[name.end() :]).strip()
        if rest not in ("", _ARGUMENTS):
            raise NotACallError
        self._call.name(name[0])

    def _arguments(self, text: str) -> str | None:
        assert self._scanner is not None
        end = self._scanner.end_in(text, 0)
        self._call.arguments(text if end is None else text[:end])
        if end is None:
            return None
        self._call.end()
        return text[end:]


def _may_be_head(head: str) -> bool:
    if len(head) > _LONGEST_HEAD:
        return False
    name = _NAME.match(head)
    assert name is not None
    rest = head[name.end() :].strip()
    if not rest or _ARGUMENTS.startswith(rest):
        return True
    identified = _CALL_ID.match(rest)
    if identified is None:
        return "[CALL_ID]".startswith(rest)
    return _ARGUMENTS.startswith(rest[identified.end() :])


class _EitherCall:
    """The older form or the newer, by its first character."""

    def __init__(self, call: Call) -> None:
        self.at = 0
        self._call = call
        self._reader: Reader | None = None

    def feed(self, text: str) -> str | None:
        if self._reader is None:
            older = text.startswith("{")
            self._reader = CallObject(self._call, ("arguments",)) if older else NamedCall(self._call)
        try:
            return self._reader.feed(text)
        finally:
            self.at = self._reader.at


def _begins(character: str) -> bool:
    return character == "{" or character.isalnum() or character == "_"


MISTRAL = Form(("[TOOL_CALLS]",), (), (), _begins, _EitherCall)
