"""The families that write calls as JSON objects."""

from __future__ import annotations

from stoker.serve.answer.parsers.call import Call
from stoker.serve.answer.parsers.json_scan import CallObject
from stoker.serve.answer.parsers.tools import Form

_KEYS = ("arguments", "parameters")


def _reader(call: Call) -> CallObject:
    return CallObject(call, _KEYS)


def _form(marks: tuple[str, ...], ends: tuple[str, ...] = (), bare: tuple[str, ...] = ()) -> Form:
    return Form(marks, ends, bare, lambda character: character == "{", _reader)


HERMES = _form(("<tool_call>",), ("</tool_call>",))
LLAMA = _form(("<|python_tag|>",), (), ("{",))
GRANITE = _form(("<|tool_call|>", "<tool_call>"), ("</tool_call>",))
PHI4 = _form(("<|tool_call|>", "functools["), ("<|/tool_call|>",))
