"""The demo model with another tongue: where it would end a sentence, it begins to call a tool.

Nothing but the tokenizer is changed, whose full stop becomes the mark before a call, as text or as a control token.
What such a model writes behind the mark is no call but by a grammar.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stoker.resolve.local import DEMO_DIRECTORY

_STOP = "."
_HERMES = "'<tool_call>\\n' + (call['function'] | tojson) + '\\n</tool_call>'"
_MISTRAL = "'[TOOL_CALLS][' + (call['function'] | tojson) + ']'"


def write_calling_model(directory: Path, *, mark: str, control: bool) -> Path:
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
    if mark == "[TOOL_CALLS]":
        template = directory / "chat_template.jinja"
        written = template.read_text()
        assert _HERMES in written
        template.write_text(written.replace(_HERMES, _MISTRAL))
    return directory
