"""The model's own chat template: untrusted code from a model hub, so rendered in Jinja's sandbox from plain data only.

The environment is the one that templates are written for (transformers' `apply_chat_template`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stoker.serve.request.template_process import RenderingEndedError, TemplateProcess

RESERVED = ("messages", "tools", "documents", "add_generation_prompt")


class TemplateRefusedError(Exception):
    """The template will not render these messages; the text says why."""


class TemplateMissingError(Exception):
    """There is no template, or not a usable one; the text says which."""


class ChatTemplate:
    """Raises TemplateMissingError for a source that is not a template.

    `render` is for the process that may be lost; the API's own uses `rendered`, or `render_apart` where it can wait.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateMissingError(f"The model's chat template is broken: {error}") from error
        self.source = source
        self._special_tokens = dict(special_tokens)
        self._process = TemplateProcess(source, self._special_tokens)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The prompt up to where the assistant speaks. `arguments` are the template's own (chat_template_kwargs)."""
        names = {**self._special_tokens, "documents": None, **(arguments or {}), "tools": tools and list(tools)}
        try:
            return self._template.render(**names, messages=list(messages), add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise TemplateRefusedError(error.message or type(error).__name__) from error
        except Exception as error:  # a template is a program: it may fail in any way on messages it did not expect
            raise TemplateRefusedError(f"{type(error).__name__}: {error}") from error

    async def rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """What `render` gives, rendered in a process of its own with limits of time and memory."""
        return await asyncio.to_thread(self.render_apart, messages, arguments, tools)

    def render_apart(
        self,
        messages: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        try:
            answer = self._process.render(messages, arguments, tools)
        except RenderingEndedError as error:
            raise TemplateRefusedError(str(error)) from error
        if "refused" in answer:
            raise TemplateRefusedError(answer["refused"])
        return answer["text"]


def load_chat_template(directory: Path) -> ChatTemplate:
    """From chat_template.jinja, else chat_template.json, else tokenizer_config.json. TemplateMissingError without."""
    settings = read_json(directory / "tokenizer_config.json")
    source = _source(directory, settings)
    if source is None:
        raise TemplateMissingError("The model has no chat template; use /v1/completions.")
    return ChatTemplate(source, _special_tokens(directory, settings))


def read_json(path: Path) -> dict[str, Any]:
    """Empty for a file that is absent or holds no JSON object."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _source(directory: Path, settings: Mapping[str, Any]) -> str | None:
    file = directory / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = read_json(directory / "chat_template.json").get("chat_template", settings.get("chat_template"))
    return _default_of(template)


def _default_of(template: Any) -> str | None:
    """A single template, or the one named "default" of a list."""
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _special_tokens(directory: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token... as texts; each may be given as a text or as an object with its content."""
    both = {**read_json(directory / "special_tokens_map.json"), **settings}
    tokens = {}
    for name, value in both.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            tokens[name] = text
    return tokens


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
