"""Models of a public shape with random weights: speed depends on the shape alone."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DEMO = Path(__file__).parents[2] / "entrypoint" / "stoker" / "resolve" / "demo"

QWEN2_5_0_5B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
    "bos_token_id": 0,
    "eos_token_id": 1,
}

LLAMA_3_2_1B = {  # with plain rotary positions: scaled ones take as long
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "head_dim": 64,
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
    "bos_token_id": 0,
    "eos_token_id": 1,
}

SHAPES = {"qwen2.5-0.5b": QWEN2_5_0_5B, "llama-1b": LLAMA_3_2_1B}


def shapes_of(config: dict) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of a Qwen2 or Llama model with tied embeddings; Qwen2 has biases."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    yield "model.norm.weight", (hidden,)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for name, width in (("q", hidden), ("k", kv), ("v", kv)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (width, hidden)
            if config["model_type"] == "qwen2":
                yield f"{prefix}.self_attn.{name}_proj.bias", (width,)
        yield f"{prefix}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{prefix}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{prefix}.mlp.up_proj.weight", (inner, hidden)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, inner)
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)


def write_model(directory: Path, config: dict = QWEN2_5_0_5B, seed: int = 0) -> Path:
    """A model directory in bf16 with the demo model's tokenizer; written once."""
    if (directory / "model.safetensors").is_file():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copyfile(DEMO / name, directory / name)
    write_safetensors(directory / "model.safetensors", list(shapes_of(config)), seed)
    return directory


def vocabulary_of_demo() -> int:
    return len(json.loads((DEMO / "tokenizer.json").read_text())["model"]["vocab"])


def write_safetensors(path: Path, shapes: list[tuple[str, tuple[int, ...]]], seed: int) -> None:
    """Norms are ones, the rest normal with deviation 0.02; one tensor in memory at a time.

    Embeddings, which are the output matrix too, of ids that the tokenizer does not have are zero: such an id would be
    a token without text, for which no event is sent.
    """
    header: dict[str, dict] = {}
    offset = 0
    for name, shape in shapes:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    generator = np.random.default_rng(seed)
    with path.with_suffix(".part").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for name, shape in shapes:
            values = np.ones(shape, np.float32) if "norm" in name else _normal(generator, shape)
            if "embed_tokens" in name:
                values[vocabulary_of_demo() :] = 0
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    path.with_suffix(".part").rename(path)


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
