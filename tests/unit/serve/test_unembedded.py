"""Tokens that a tokenizer has and the model's embedding has no row for: refused before the engine, by name, wherever
they come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.kinds.openvino import TENSORS
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.model import Pooling
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Service
from stoker.store.engine import Engine, Manifest

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


ROWS = 2048
ADDED = ("[PAD]", "<image_soft_token>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
CHAT = {"model": "demo", "max_tokens": 2}


def demo_with(directory: Path, tokens: tuple[str, ...], **config: Any) -> Path:
    """A copy of the demo model whose tokenizer has `tokens` right after its vocabulary."""
    shutil.copytree(DEMO_DIRECTORY, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    tokenizer = json.loads((directory / "tokenizer.json").read_bytes())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"] += [{"id": ROWS + index, "content": token, **plain} for index, token in enumerate(tokens)]
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((directory / name).read_bytes())
        (directory / name).write_text(json.dumps({**settings, **config}))
    return directory


def engine_in(directory: Path, **facts: Any) -> Engine:
    chosen = {"max_seq_len": 512, "max_batch_size": 8}
    model = {"architecture": facts} if facts else {}
    return Engine(directory, Manifest(1, "demo-0", "openvino", "demo", "", chosen, {}, {}, model=model))


@pytest.fixture(scope="session")
def padded(tmp_path_factory: Any) -> Iterator[Frontend]:
    directory = demo_with(tmp_path_factory.mktemp("padded") / "demo", ADDED, eos_token_id=[2, ROWS, -1])
    made = load_frontend(engine_in(directory), TENSORS["text"].capabilities)
    yield made
    made.tokenizer.close()


@pytest.fixture
def served(service: Service, padded: Frontend, engine: ScriptedEngine) -> Any:
    service.attach(engine, padded)
    return engine


def message(text: str) -> dict[str, Any]:
    return {**CHAT, "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("token", ADDED[:2])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", lambda token: message(f"Hello {token}")),
        ("/v1/completions", lambda token: {**CHAT, "prompt": f"Once{token}"}),
        ("/v1/completions", lambda token: {**CHAT, "prompt": ["Once", f"Once{token}"]}),
        ("/v1/completions", lambda token: {**CHAT, "prompt": token, "echo": True}),
        ("/v1/responses", lambda token: {"model": "demo", "input": f"Hello {token}"}),
        ("/v1/messages", lambda token: message(f"Hello {token}")),
    ],
)
def test_a_text_with_such_a_token_is_refused_by_its_name(
    ask: Ask, served: Any, path: str, body: Any, token: str
) -> None:
    answer = ask(path, body(token))
    assert answer.status == 400
    assert token in answer.text
    assert str(ROWS + ADDED.index(token)) in answer.text
    assert served.asked == []


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": [1, ROWS]},
        {"prompt": [[1, 2], [ROWS + 1]]},
        {"prompt": "Once", "suffix": "the end"},
        {"prompt": "Once", "logit_bias": {str(ROWS): 1}},
        {"prompt": [1, -1]},
        {"prompt": [1, 2**31]},
        {"prompt": [1, True]},
    ],
    ids=str,
)
def test_so_are_ids_and_the_marks_around_a_gap(ask: Ask, served: Any, more: dict[str, Any]) -> None:
    assert ask("/v1/completions", {**CHAT, **more}).status == 400
    assert served.asked == []


def test_an_id_is_named_with_its_place_and_its_text(ask: Ask, served: Any) -> None:
    error = ask("/v1/completions", {**CHAT, "prompt": [[1], [1, 2, ROWS]]}).error
    assert error["param"] == "prompt[1][2]"
    assert f"'[PAD]' (id {ROWS})" in error["message"]


def test_the_last_row_is_a_token(ask: Ask, served: Any) -> None:
    assert ask("/v1/completions", {**CHAT, "prompt": [1, ROWS - 1]}).status == 200
    assert served.asked


def test_ids_that_end_an_answer_are_those_the_model_can_give(padded: Frontend) -> None:
    assert set(padded.context.end_ids) == {2, 6}  # 6 is that of tokenizer_config.json
    assert padded.context.logits == padded.vocabulary_size == ROWS


@pytest.mark.parametrize("given", ["Once [PAD]", ["Once", "[PAD]"], [1, ROWS], [[1], [ROWS]]], ids=str)
def test_embeddings(ask: Ask, service: Service, served: Any, padded: Frontend, given: Any) -> None:
    service.attach(served, replace(padded, pooling=Pooling("mean", True, 64), dimensions=8))
    answer = ask("/v1/embeddings", {"model": "demo", "input": given})
    assert answer.status == 400
    assert str(ROWS) in answer.text
    assert served.asked == []


@pytest.mark.parametrize(("query", "text"), [("Who [PAD]?", "He."), ("Who?", "He [PAD].")])
def test_reranking(ask: Ask, service: Service, served: Any, padded: Frontend, query: str, text: str) -> None:
    service.attach(served, replace(padded, pooling=Pooling("score", False, 64)))
    answer = ask("/v1/rerank", {"model": "demo", "query": query, "documents": ["It was.", text]})
    assert answer.status == 400
    assert "[PAD]" in answer.text
    assert served.asked == []


def test_what_is_only_written_and_read_has_the_tokenizers_own_ids(ask: Ask, served: Any) -> None:
    ids = ask("/tokenize", {"prompt": "Once[PAD]", "add_special_tokens": False}).json["tokens"]
    assert ids[-1] == ROWS
    assert ask("/detokenize", {"tokens": ids}).status == 200
    assert ask("/detokenize", {"tokens": [ROWS + len(ADDED)]}).status == 400
    assert ask("/v1/completions", {**CHAT, "prompt": ids}).status == 400


def test_rows_are_those_that_resolve_measured(tmp_path: Path) -> None:
    """A config that leaves vocab_size to its defaults, or keeps it one level down, says too little to the API."""
    directory = demo_with(tmp_path / "demo", (), vocab_size=None)
    made = load_frontend(engine_in(directory, vocabulary_size=1024, hidden_size=64), TENSORS["text"].capabilities)
    assert made.vocabulary_size == made.context.logits == 1024
    made.tokenizer.close()
