"""A Qwen2 or Llama checkpoint as GGUF: `python gguf_model.py MODEL_DIRECTORY q8_0|q4_0|"q4_0 pure" FILE.gguf`.

In q4_0 the embedding, which is the output matrix too, has 8 bits, as ours has in int4; in "q4_0 pure", as llama.cpp's
own tool calls it, it has 4.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import gguf
import numpy as np

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
}
LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Of a safetensors file in bf16, as f32."""
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            values = np.frombuffer(file.read(end - begin), np.uint16).astype(np.uint32) << 16
            yield name, values.view(np.float32).reshape(entry["shape"])


def name_of(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    _, _, layer, *rest, kind = name.split(".")
    return f"blk.{layer}.{LAYER_NAMES['.'.join(rest)]}.{kind}"


def rotated(name: str, values: np.ndarray, heads: Mapping[str, int]) -> np.ndarray:
    """llama.cpp rotates neighbours in a Llama's heads, where transformers rotates their halves: the rows of queries and
    keys change places, so that it is the same model. `heads`: of the modules that are concerned."""
    module = name.split(".")[-2]
    if module not in heads:
        return values
    return values.reshape(heads[module], 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)


def add_vocabulary(writer: gguf.GGUFWriter, directory: Path, size: int) -> None:
    """llama.cpp's server needs the text of a token; ids that the tokenizer does not have are unused ones."""
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    types = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    unused = [f"[PAD{place}]" for place in range(len(tokens), size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens, *unused])
    writer.add_token_types([*types, *[gguf.TokenType.UNUSED] * len(unused)])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_add_bos_token(False)


def write(directory: Path, wanted: str, path: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    writer = gguf.GGUFWriter(path, config["model_type"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    add_vocabulary(writer, directory, config["vocab_size"])
    rotating = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    heads = rotating if config["model_type"] == "llama" else {}
    matrix, _, pure = wanted.partition(" ")
    for name, values in tensors(directory / "model.safetensors"):
        if values.ndim == 1:
            writer.add_tensor(name_of(name), values)
            continue
        kept = "embed_tokens" in name and not pure
        stored = gguf.GGMLQuantizationType[("q8_0" if kept else matrix).upper()]
        writer.add_tensor(name_of(name), gguf.quants.quantize(rotated(name, values, heads), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
