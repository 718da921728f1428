"""What the load asks: completions and chats, short and long, beginning alike and afresh, free and of a given form."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

PROMPTS = ("Once upon a time", "Who are you?", "The sea", "A stoker feeds")
_WORDS = ("the", "sea", "coal", "fire", "engine", "wind", "ship", "night", "harbour", "light", "smoke", "steel")
_SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "object", "properties": {"port": {"enum": ["Hull", "Bergen"]}, "tons": {"type": "integer"}}},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 8},
)


@dataclass(frozen=True)
class Question:
    """`body`: without the model and `stream`. Greedy, so that it has one right answer."""

    name: str
    path: str
    body: dict[str, Any] = field(hash=False)


def completion(prompt: str, tokens: int) -> Question:
    """So many tokens exactly."""
    body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    return Question(f"{tokens} tokens after {prompt}", "/v1/completions", body)


def chat(text: str, tokens: int, schema: dict[str, Any] | None = None) -> Question:
    messages = [{"role": "system", "content": "You answer in few words."}, {"role": "user", "content": text}]
    body: dict[str, Any] = {"messages": messages, "max_tokens": tokens, "temperature": 0}
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return Question(f"{text} {json.dumps(schema)}", "/v1/chat/completions", body)


def mixed() -> tuple[Question, ...]:
    """The same for ever: short and long, four prompts with one long beginning, and texts of a given form."""
    beginning = words(random.Random(1), 200)
    return (
        *(completion(prompt, tokens) for prompt in PROMPTS for tokens in (8, 64)),
        *(completion(f"{beginning} {prompt}", 24) for prompt in PROMPTS),
        *(chat(prompt, 48) for prompt in PROMPTS),
        *(chat("Describe the ship.", 96, schema) for schema in _SCHEMAS),
    )


def fresh(chance: random.Random) -> Question:
    """One that nobody has asked before, of up to some hundred tokens."""
    return completion(words(chance, chance.choice((5, 50, 250))), chance.choice((8, 32)))


def words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(count))
