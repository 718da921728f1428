"""A hub in this process, and tiny checkpoints to put into it or into directories."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.loading import load

from stoker.progress import Silent

if TYPE_CHECKING:
    from tests.hub_server import HubServer

Files = dict[str, bytes]
TENSORS = {"model.embed_tokens.weight": (64, 16), "model.norm.weight": (16,), "lm_head.weight": (64, 16)}


hub_server = load("hub_server", Path(__file__).parents[2] / "hub_server.py")


def safetensors(tensors: Mapping[str, tuple[int, ...]], dtype: str = "BF16", width: int = 2) -> bytes:
    header, position = {}, 0
    for name, shape in tensors.items():
        end = position + prod(shape) * width
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + os.urandom(position)


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 64,
}


def _small_files(config: Mapping[str, Any]) -> Files:
    documents: dict[str, Any] = {
        "config.json": {**CONFIG, **config},
        "generation_config.json": {"eos_token_id": 2},
        "tokenizer.json": {"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    }
    return {name: json.dumps(document).encode() for name, document in documents.items()}


@pytest.fixture
def checkpoint() -> Callable[..., Files]:
    """Makes a checkpoint's files, with `shards` and their index if asked; `padding` scalars make it larger."""

    def make(shards: int = 0, padding: int = 0, **config: Any) -> Files:
        files = _small_files(config) | {"chat_template.jinja": b"{{ messages }}"}
        tensors = {**TENSORS, **({"padding": (padding,)} if padding else {})}
        if not shards:
            return files | {"model.safetensors": safetensors(tensors)}
        places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(tensors)}
        for file in sorted(set(places.values())):
            files[file] = safetensors({name: shape for name, shape in tensors.items() if places[name] == file})
        total = sum(2 * prod(shape) for shape in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": places}
        return files | {"model.safetensors.index.json": json.dumps(index).encode()}

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def put(files: Files, name: str = "tiny-llama") -> Path:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        for file, data in files.items():
            (directory / file).parent.mkdir(exist_ok=True)
            (directory / file).write_bytes(data)
        return directory

    return put


class Recorder(Silent):
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.states: list[tuple[int, int]] = []
        self.notes: list[str] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.phases.append(name)

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.states.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def progress() -> Recorder:
    return Recorder()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A running HubServer that HF_ENDPOINT points to; failed attempts are repeated without a pause."""
    from huggingface_hub import close_session

    monkeypatch.setattr("stoker.resolve.download.PAUSES", (0, 0))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    close_session()
    with hub_server.HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()
