"""The vocabulary as the C++ backend's guided decoding reads it: `xgrammar_tokenizer_info_path`.

The same values as TensorRT-LLM's own examples/generate_xgrammar_tokenizer_info.py (1.2) writes, without loading
TensorRT-LLM for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stoker.build.companions import sync
from stoker.errors import UnsupportedModelError
from stoker.json_text import parse_json
from stoker.kinds.tensorrt_llm.files import VOCABULARY
from stoker.resolve.facts import with_defaults
from stoker.resolve.json_files import read_json


def write_vocabulary(source: Path, directory: Path) -> None:
    """From the tokenizer.json of `source`; nothing where there is none, and then nothing can be guided."""
    tokenizer = source / "tokenizer.json"
    if not tokenizer.is_file():
        return
    config = source / "config.json"
    rows = with_defaults(read_json(config)).get("vocab_size") if config.is_file() else None
    known = rows if isinstance(rows, int) else None
    (directory / VOCABULARY).write_text(json.dumps(vocabulary_of(tokenizer, end_ids(source), known)))
    sync(directory / VOCABULARY)


def vocabulary_of(tokenizer: Path, ends: list[int], rows: int | None = None) -> dict[str, Any]:
    """Tokens by id; an id that is not in use is empty. Of more ids than the model's `rows` no grammar may know: its
    mask would be longer than the logits. UnsupportedModelError for a tokenizer that is none."""
    from tokenizers import Tokenizer

    try:
        rust = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # tokenizers raises plain Exception
        raise UnsupportedModelError(
            f"{tokenizer} cannot be used",
            why=f"the tokenizers library does not read it: {error}",
            remedy="save it again with transformers",
        ) from error
    by_id = {number: token for token, number in rust.get_vocab(with_added_tokens=True).items()}
    size = max(by_id, default=-1) + 1
    size = min(size, rows or size)
    return {
        "encoded_vocab": [by_id.get(number, "") for number in range(size)],
        "tokenizer_str": rust.to_str(),
        "stop_token_ids": [end for end in ends if end < size],
    }


def end_ids(source: Path) -> list[int]:
    """generation_config.json's, else config.json's."""
    for name in ("generation_config.json", "config.json"):
        path = source / name
        found = parse_json(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
        if found is not None:
            return [found] if isinstance(found, int) else list(found)
    return []
