"""Compiles and renders a chat template for the API process, and nothing else.

`python -m stoker.serve.request.template_child` reads a line of JSON with the template, its special tokens and the
seconds of processor time that each answer may take, then a line for each rendering; it writes a line for each of them.

A template is a program from a model hub. Jinja's sandbox keeps it from the system, this process from the API's time and
memory. Compiling is part of it: Jinja computes constant expressions while it compiles. The environment is the one that
templates are written for (transformers' `apply_chat_template`).
"""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 1 << 30
TEXT_CHARACTERS = 16 << 20
_SHOWN = 1000


def main() -> None:
    for limit, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    source, special_tokens, seconds = json.loads(sys.stdin.buffer.readline())
    _allow(seconds)
    try:
        template = _environment().from_string(source)
    except Exception as error:  # compiling may fail in as many ways as running
        _answer({"broken": _words(error)})
        return
    _answer({"ready": ""})
    for line in sys.stdin.buffer:
        _allow(seconds)
        _answer(_rendered(template, special_tokens, *json.loads(line)))


def _allow(seconds: float) -> None:
    """From now on so much processor time; more ends the process with SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _answer(answer: Mapping[str, str]) -> None:
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
    sys.stdout.buffer.flush()


def _rendered(
    template: jinja2.Template, special_tokens: dict[str, str], messages: Any, arguments: Any, tools: Any
) -> dict[str, str]:
    """Up to where the assistant speaks."""
    usual = {**special_tokens, "documents": None, "add_generation_prompt": True}
    names = {**usual, **(arguments or {}), "tools": tools or None}
    try:
        text = template.render(**names, messages=messages)
    except Exception as error:  # a template is a program: it may fail in any way on messages it did not expect
        return {"refused": _words(error)}
    if len(text) > TEXT_CHARACTERS:
        return {"refused": f"it made a prompt of {len(text)} characters"}
    if not _is_unicode(text):
        return {"refused": "it made a text that is not valid Unicode"}
    return {"text": text}


def _words(error: Exception) -> str:
    told = str(error) if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
    return (told or type(error).__name__)[:_SHOWN].encode(errors="replace").decode()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said, for training; here its body is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration is an instance attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Unlike Jinja's own filter, escapes nothing for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)


if __name__ == "__main__":
    main()
