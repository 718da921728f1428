"""What the API knows of one model: its names, its tokenizer, its chat template, and where its answers end."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoker.errors import DamagedModelError
from stoker.launch.capabilities import Capabilities
from stoker.resolve.facts import with_defaults
from stoker.resolve.model import Pooling
from stoker.serve.answer.parsers.choice import AUTO, choose_family, choose_thinking
from stoker.serve.answer.parsers.families import Family
from stoker.serve.answer.parsers.reasoning import Thinking
from stoker.serve.generate.admission import Capacity
from stoker.serve.http.limits import Limits
from stoker.serve.operate.adapters import Adapters
from stoker.serve.request.chat_template import (
    DEFAULT,
    TOOL_USE,
    ChatTemplate,
    TemplateMissingError,
    load_chat_template,
    other_templates,
    read_json,
    template_sources,
)
from stoker.serve.request.sampling import OPENAI, Context, Defaults, defaults_of
from stoker.serve.request.tokenizing import Tokenizer, load_tokenizer
from stoker.store.engine import Engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frontend:
    """`names`: all are served, the first is shown first. `chat_template` is the reason where there is none.
    `tool_template`: the one for requests with tools, of a model that has one of its own for them. `other_templates`:
    those that are used where a request names them.

    `max_batch_size`: of all replicas together.
    `vocabulary_size`: rows of the embedding. Of the tokenizer's ids, the model knows only those below it.
    `pooling`: of a model that gives vectors of so many `dimensions`, or scores, and no text.
    `adapters` are served beside the model, under names of their own.
    `shown`: the control tokens that mark calls and thinking, which are text to those who look for them.
    """

    names: tuple[str, ...]
    tokenizer: Tokenizer
    chat_template: ChatTemplate | TemplateMissingError
    context: Context
    fingerprint: str
    vocabulary_size: int
    tool_template: ChatTemplate | None = None
    other_templates: Mapping[str, ChatTemplate] = field(default_factory=dict)
    tool_family: Family | None = None
    thinking: Thinking | None = None
    shown: Mapping[int, str] = field(default_factory=dict)
    max_batch_size: int = 0
    limits: Limits = field(default_factory=Limits)
    capacity: Capacity = field(default_factory=Capacity)
    build_seconds: float | None = None
    pooling: Pooling | None = None
    dimensions: int = 0
    adapters: Adapters = field(default_factory=Adapters)
    created: int = field(default_factory=lambda: int(time.time()))

    def template_for(self, *, tools: bool) -> ChatTemplate | TemplateMissingError:
        return self.tool_template if tools and self.tool_template else self.chat_template

    def template_named(self, name: str) -> ChatTemplate | TemplateMissingError | None:
        """None where the model has none of that name."""
        usual = {DEFAULT: self.chat_template, TOOL_USE: self.tool_template}
        return usual[name] if name in usual else self.other_templates.get(name)


@dataclass(frozen=True)
class Recipe:
    """What a frontend is loaded from, in whichever process; `load_frontend` says what each is."""

    engine: Engine
    capabilities: Capabilities
    names: tuple[str, ...]
    max_seq_len: int
    capacity: Capacity
    limits: Limits
    tool_parser: str
    reasoning_parser: str
    model_defaults: bool

    def load(self, adapters: Adapters) -> Frontend:
        """Raises what `load_frontend` does."""
        return load_frontend(**vars(self), adapters=adapters)


def load_frontend(
    engine: Engine,
    capabilities: Capabilities,
    *,
    names: Sequence[str] = (),
    max_seq_len: int | None = None,
    capacity: Capacity | None = None,
    limits: Limits | None = None,
    tool_parser: str = AUTO,
    reasoning_parser: str = AUTO,
    model_defaults: bool = True,
    adapters: Adapters | None = None,
) -> Frontend:
    """Reads the engine's directory; blocks for up to a second. DamagedModelError when a file is missing or broken,
    UsageError for a parser that does not fit the model.

    `model_defaults`: whether the model's generation_config.json says how to sample where a request does not.
    `max_seq_len`, `capacity`: what the engine was launched with, where that differs from what it was built for.
    """
    manifest = engine.manifest
    tokenizer = load_tokenizer(engine.directory)
    template, tool_template = _chat_template(engine.directory), _tool_template(engine.directory)
    asked = tool_template or template
    family, thinking = None, None
    if isinstance(asked, ChatTemplate):
        family, thinking = choose_family(asked, tool_parser), choose_thinking(asked, reasoning_parser)
    capacity, limits = capacity or Capacity(), limits or Limits()
    longest = int(max_seq_len or manifest.chosen["max_seq_len"])
    length = min(longest, capacity.tokens or longest)
    rows = _vocabulary_size(engine) or tokenizer.size
    return Frontend(
        names=tuple(names) or (manifest.served_name,),
        tokenizer=tokenizer,
        chat_template=template,
        tool_template=tool_template,
        other_templates=other_templates(engine.directory),
        tool_family=family,
        thinking=thinking,
        shown=_shown(tokenizer, family, thinking),
        context=Context(
            length,
            tuple(id_ for id_ in end_ids(engine.directory, tokenizer) if 0 <= id_ < rows),
            limits.prompt_tokens,
            capabilities.lacks,
            capabilities.tells_reuse,
            rows,
            _defaults(engine, capabilities.lacks) if model_defaults else OPENAI,
        ),
        fingerprint="fp_" + hashlib.sha256(manifest.key.encode()).hexdigest()[:10],
        vocabulary_size=rows,
        max_batch_size=(capacity.sequences - capacity.extra) or int(manifest.chosen.get("max_batch_size", 0)),
        limits=limits,
        capacity=capacity,
        build_seconds=_build_seconds(manifest.build.get("seconds")),
        pooling=Pooling(**manifest.model["pooling"]) if manifest.model.get("pooling") else None,
        adapters=Adapters() if adapters is None else adapters,
        dimensions=int(manifest.model.get("architecture", {}).get("hidden_size", 0)),
    )


def _defaults(engine: Engine, lacks: frozenset[str]) -> Defaults:
    return defaults_of(read_json(engine.directory / "generation_config.json"), lacks)


def _shown(tokenizer: Tokenizer, family: Family | None, thinking: Thinking | None) -> dict[int, str]:
    marks = [*(family.form.marks if family else ()), *(family.form.ends if family else ())]
    marks += [thinking.opening, thinking.closing] if thinking else []
    found = {mark: tokenizer.special_id(mark) for mark in marks}
    return {id_: mark for mark, id_ in found.items() if id_ is not None}


def end_ids(directory: Path, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Every id that ends an answer: generation_config.json's, else config.json's, and tokenizer_config.json's."""
    generation, config = read_json(directory / "generation_config.json"), read_json(directory / "config.json")
    found = _ids(generation.get("eos_token_id")) or _ids(config.get("eos_token_id"))
    token = read_json(directory / "tokenizer_config.json").get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    own = tokenizer.id_of(text) if isinstance(text, str) else None
    return tuple(dict.fromkeys([*found, *([] if own is None else [own])]))


def _ids(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [id_ for id_ in values if type(id_) is int]


def _build_seconds(recorded: object) -> float | None:
    """A builder records one number, or one for each of its stages."""
    if isinstance(recorded, dict):
        return float(sum(recorded.values()))
    return float(recorded) if isinstance(recorded, (int, float)) else None


def _vocabulary_size(engine: Engine) -> int:
    """Rows of the embedding: as resolve found it, else, of an engine that does not say, as the config has it."""
    if size := engine.manifest.model.get("architecture", {}).get("vocabulary_size"):
        return int(size)
    size = with_defaults(read_json(engine.directory / "config.json")).get("vocab_size", 0)
    return size if type(size) is int else 0


def _chat_template(directory: Path) -> ChatTemplate | TemplateMissingError:
    try:
        return load_chat_template(directory)
    except TemplateMissingError as error:
        return error
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedModelError("the chat template cannot be read", why=str(error)) from error


def _tool_template(directory: Path) -> ChatTemplate | None:
    """None where the model has none for tools alone, or one that cannot be used: then its only one has to do."""
    try:
        if TOOL_USE not in template_sources(directory):
            return None
        return load_chat_template(directory, TOOL_USE)
    except TemplateMissingError as error:
        logger.warning("the template for tools is not used: %s", error)
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedModelError("the chat template cannot be read", why=str(error)) from error
    return None
