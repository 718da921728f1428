"""The model's own chat template: untrusted code from a model hub, so compiled and rendered in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from stoker.json_text import parse_json
from stoker.serve.request.lanes import Lane
from stoker.serve.request.messages import CallForm
from stoker.serve.request.template_process import (
    RenderingEndedError,
    TemplateBrokenError,
    TemplateProcess,
    TemplateUnavailableError,
)

RESERVED = ("messages", "tools", "documents", "add_generation_prompt")
DEFAULT, TOOL_USE = "default", "tool_use"  # the second where a request has tools
ADDITIONAL = "additional_chat_templates"
MAX_SOURCE = 1 << 20
SMALL = 64 << 10  # characters
_UNUSABLE = "The model's chat template cannot be used"


class TemplateRefusedError(Exception):
    """The template will not render these messages; the text says why."""


class TemplateMissingError(Exception):
    """There is no template, or not a usable one; the text says which."""


class ChatTemplate:
    """One that `check` has found to be a template. Nothing of it runs in this process.

    Large conversations have a process of their own, so that small ones do not wait for them.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self.source = source
        self.call_form: CallForm | None = None  # stoker.serve.request.call_form finds it out
        self._small, self._large = (
            (TemplateProcess(source, special_tokens), Lane("template", large=large)) for large in (False, True)
        )

    def check(self) -> None:
        """Blocks for as long as it takes to compile. TemplateMissingError for a source that is not a template."""
        if len(self.source) > MAX_SOURCE:
            raise TemplateMissingError(f"{_UNUSABLE}: it has {len(self.source)} characters, and {MAX_SOURCE} may be")
        try:
            self._small[0].check()
        except (TemplateBrokenError, TemplateUnavailableError) as error:
            raise TemplateMissingError(f"{_UNUSABLE}: {error}") from error

    async def rendered(self, given: bytes) -> str:
        """The prompt up to where the assistant speaks. `given`: what `rendering_of` makes.

        TemplateRefusedError; TemplateUnavailableError.
        """
        process, lane = self._large if len(given) > SMALL else self._small
        return await lane.run(_render, process, given)

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        arguments: Mapping[str, object] | None = None,
        tools: Sequence[Mapping[str, object]] | None = None,
    ) -> str:
        """What `rendered` gives, where the caller can wait."""
        return _render(self._small[0], rendering_of(messages, arguments, tools))


def rendering_of(
    messages: Sequence[Mapping[str, object]],
    arguments: Mapping[str, object] | None = None,
    tools: Sequence[Mapping[str, object]] | None = None,
) -> bytes:
    """As a line of JSON. `arguments` are the template's own (chat_template_kwargs)."""
    return msgspec.json.encode([messages, arguments, tools])


def _render(process: TemplateProcess, given: bytes) -> str:
    try:
        answer = process.render(given)
    except (RenderingEndedError, TemplateBrokenError) as error:
        raise TemplateRefusedError(str(error)) from error
    if "refused" in answer:
        raise TemplateRefusedError(answer["refused"])
    return answer["text"]


def load_chat_template(directory: Path, name: str = DEFAULT) -> ChatTemplate:
    """The template of that name; see `template_sources`. TemplateMissingError without one that can be used: whatever is
    wrong with it is told here and not by the first request."""
    sources = template_sources(directory)
    if name not in sources:
        others = f" of its own without a name; it has {', '.join(sorted(sources))}" if sources else ""
        raise TemplateMissingError(f"The model has no chat template{others}; use /v1/completions.")
    template = ChatTemplate(sources[name], _special_tokens(directory, read_json(directory / "tokenizer_config.json")))
    template.check()
    return template


def other_templates(directory: Path) -> dict[str, ChatTemplate]:
    """Those that only requests name. They are compiled when one does: until then no process is started for them."""
    tokens = _special_tokens(directory, read_json(directory / "tokenizer_config.json"))
    sources = template_sources(directory)
    others = {name: source for name, source in sources.items() if name not in (DEFAULT, TOOL_USE)}
    return {name: ChatTemplate(source, tokens) for name, source in others.items() if len(source) <= MAX_SOURCE}


def template_fault(directory: Path) -> str:
    """Why a model that comes with a chat template cannot chat all the same; empty where nothing is wrong."""
    try:
        if DEFAULT in template_sources(directory):
            load_chat_template(directory)
    except (TemplateMissingError, OSError, UnicodeDecodeError) as error:
        return str(error)
    return ""


def read_json(path: Path) -> dict[str, object]:
    """Empty for a file that is absent or holds no JSON object."""
    try:
        document = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def template_sources(directory: Path) -> dict[str, str]:
    """A model's templates by name, as transformers finds them: files go before chat_template.json, and that before
    tokenizer_config.json."""
    files = _template_files(directory)
    if files:
        return files
    settings = read_json(directory / "tokenizer_config.json")
    given = read_json(directory / "chat_template.json").get("chat_template", settings.get("chat_template"))
    if isinstance(given, list):  # [{"name": ..., "template": ...}]
        given = {each.get("name"): each.get("template") for each in given if isinstance(each, dict)}
    named = given if isinstance(given, dict) else {DEFAULT: given}
    return {name: source for name, source in named.items() if isinstance(name, str) and isinstance(source, str)}


def _template_files(directory: Path) -> dict[str, str]:
    additional = sorted((directory / ADDITIONAL).glob("*.jinja"))
    files = {path.stem: path for path in additional if path.is_file()}
    default = directory / "chat_template.jinja"
    if default.is_file():
        files[DEFAULT] = default
    return {name: path.read_text(encoding="utf-8") for name, path in files.items()}


def _special_tokens(directory: Path, settings: Mapping[str, object]) -> dict[str, str]:
    """bos_token, eos_token... as texts; each may be given as a text or as an object with its content."""
    both = {**read_json(directory / "special_tokens_map.json"), **settings}
    tokens = {}
    for name, value in both.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            tokens[name] = text
    return tokens
