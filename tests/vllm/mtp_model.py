"""The demo model as an ERNIE 4.5 checkpoint with one layer for a further token: `write_mtp_model(folder)`.

Of such layers vLLM runs ERNIE's on any CPU: all of its parts are dense. ERNIE rotates pairs of neighbours where Llama
rotates halves, so that rows of queries and keys change places. The further layer is a copy of the model's last, and its
input the token's embedding and the hidden state in equal parts: its guesses are poor.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.resolve.local import DEMO_DIRECTORY

Array = npt.NDArray[np.float32]
LAST = "model.layers.5."


def write_mtp_model(folder: Path) -> Path:
    folder.mkdir()
    config = json.loads((DEMO_DIRECTORY / "config.json").read_text())
    own = {"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "torch_dtype": "float32"}
    experts = {"use_moe": False, "moe_num_experts": 2, "moe_k": 1, "moe_layer_start_index": 100, "use_bias": False}
    (folder / "config.json").write_text(json.dumps({**config, **own, **experts, "num_nextn_predict_layers": 1}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).symlink_to(DEMO_DIRECTORY / name)
    save_file(with_further_layer(weights(config["head_dim"])), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def weights(size: int) -> dict[str, Array]:
    checkpoint = open_checkpoint(DEMO_DIRECTORY)
    found = {name: checkpoint.tensor(name).as_f32() for name in checkpoint.names()}
    turned = ("q_proj.weight", "k_proj.weight")
    return {name: neighbours(value, size) if name.endswith(turned) else value for name, value in found.items()}


def neighbours(rows: Array, size: int) -> Array:
    """Each head's rows i and i + size / 2 become neighbours."""
    heads = rows.reshape(-1, 2, size // 2, rows.shape[1])
    return np.ascontiguousarray(heads.swapaxes(1, 2).reshape(rows.shape))


def with_further_layer(found: dict[str, Array]) -> dict[str, Array]:
    width = found["model.norm.weight"].size
    half = np.eye(width, dtype=np.float32) / 2
    further = {
        "mtp_emb_norm.0.weight": np.ones(width, np.float32),
        "mtp_hidden_norm.0.weight": found["model.norm.weight"],
        "mtp_linear_proj.0.weight": np.concatenate([half, half], 1),
        **{name.replace(LAST, "mtp_block.0."): value for name, value in found.items() if name.startswith(LAST)},
    }
    return {**found, **{f"model.{name}": value for name, value in further.items()}}
