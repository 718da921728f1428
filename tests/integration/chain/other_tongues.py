"""The demo model with another tongue: where it would end a sentence, it begins to call a tool, or has thought enough.

Nothing but the tokenizer and the template are changed. The full stop becomes the mark before a call, as text or as a
control token, or the mark after thinking. What such a model writes behind the mark of a call is none but by a grammar.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stoker.resolve.local import DEMO_DIRECTORY

_STOP = "."
_HERMES = "'<tool_call>\\n' + (call['function'] | tojson) + '\\n</tool_call>'"
_PROMPT = "{{- '<|assistant|>' -}}"
_THINKING = """{#- up to </think> it thinks -#}
  {{- '<|assistant|>' + ('' if enable_thinking is false else '<think>') -}}"""
_MISTRAL = "'[TOOL_CALLS][' + (call['function'] | tojson) + ']'"


def _write_with_mark(directory: Path, mark: str, *, control: bool) -> Path:
    shutil.copytree(DEMO_DIRECTORY, directory)
    path = directory / "tokenizer.json"
    tokenizer: dict[str, Any] = json.loads(path.read_text())
    bpe = tokenizer["model"]
    number = bpe["vocab"].pop(_STOP)
    bpe["vocab"][mark] = number
    bpe["merges"] = [
        pair for pair in bpe["merges"] if _STOP not in (pair if isinstance(pair, list) else pair.split(" "))
    ]
    tokenizer["added_tokens"].append(
        {**tokenizer["added_tokens"][-1], "id": number, "content": mark, "special": control}
    )
    path.write_text(json.dumps(tokenizer))
    return directory


def write_calling_model(directory: Path, *, mark: str, control: bool) -> Path:
    _write_with_mark(directory, mark, control=control)
    if mark == "[TOOL_CALLS]":
        _rewrite(directory / "chat_template.jinja", _HERMES, _MISTRAL)
    return directory


def write_thinking_model(directory: Path) -> Path:
    """It thinks for a sentence, unless `enable_thinking` is false."""
    _write_with_mark(directory, "</think>", control=False)
    _rewrite(directory / "chat_template.jinja", _PROMPT, _THINKING)
    return directory


def _rewrite(path: Path, old: str, new: str) -> None:
    written = path.read_text()
    head, found, tail = written.rpartition(old)
    assert found
    path.write_text(head + new + tail)
