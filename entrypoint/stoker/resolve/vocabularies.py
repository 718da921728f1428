"""Whether two models speak of the same tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.errors import UsageError
from stoker.resolve.checkpoint import TOKENIZER
from stoker.resolve.json_files import read_optional_json
from stoker.resolve.model import Model


def check_same_tokenizer(model: Model, draft: Model) -> None:
    """UsageError where tokenizer.json of both says that they differ in some id."""
    own, other = _ids(model), _ids(draft)
    wrong = next((token for token in own if other.get(token) != own[token]), None) if own and other else None
    if wrong is not None:
        raise UsageError(
            f"{draft.served_name} cannot draft for {model.served_name}",
            why=f"their tokenizers differ: {wrong!r} is {own[wrong]} in one and {other.get(wrong)} in the other",
            remedy="use a smaller model of the same family, with the same tokenizer",
        )


def _ids(model: Model) -> Mapping[str, int]:
    """By token; empty where there is no such file, or one that lists no tokens."""
    document: Any = (read_optional_json(model.directory / TOKENIZER) if model.directory else None) or {}
    vocabulary = document.get("model", {}).get("vocab")
    added = {each["content"]: each["id"] for each in document.get("added_tokens", ())}
    return {**vocabulary, **added} if isinstance(vocabulary, dict) else {}
