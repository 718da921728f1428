"""/tokenize and /detokenize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stoker.serve.operate.frontend import Frontend

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Says


def test_tokens_of_texts_and_conversations_are_counted_and_joined(ask: Ask, says: Says, frontend: Frontend) -> None:
    engine = says("x")
    text = "The old man and the sea"
    answer = ask("/tokenize", {"prompt": text, "add_special_tokens": False, "return_token_strs": True}).json
    assert answer["tokens"] == frontend.tokenizer.encode_now(text, add_special_tokens=False)
    assert "".join(answer["token_strs"]) == text
    assert (answer["count"], answer["max_model_len"]) == (len(answer["tokens"]), frontend.context.length)
    assert ask("/detokenize", {"tokens": answer["tokens"]}).json == {"prompt": text}
    messages = [{"role": "user", "content": "Hello"}]
    counted = ask("/tokenize", {"messages": messages}).json["count"]
    ask("/v1/chat/completions", {"model": "demo", "messages": messages})
    assert counted == len(engine.asked[-1].input_ids)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ("/tokenize", {"prompt": 3}, "prompt"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": [10**9]}, "tokens[0]"),
        ("/detokenize", {}, "tokens"),
    ],
)
def test_tokenizing_nonsense_is_refused(ask: Ask, path: str, body: dict[str, Any], param: str) -> None:
    answer = ask(path, body)
    assert (answer.status, answer.error["param"]) == (400, param)
