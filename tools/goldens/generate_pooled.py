"""Makes the golden files of vectors and scores, beside those of `generate.py` and in the same environment.

For every case: a tiny random model, run by transformers in float32 with eager attention, a text at a time. Pooling and
normalisation are written here once more, as sentence-transformers does them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from generate import GOLDENS, write_model
from pooled_cases import POOLED_CASES, PooledCase
from safetensors import safe_open

LENGTHS = (1, 5, 16, 17, 60, 126)
GAIN = 4.0


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    wanted = set(sys.argv[1:])
    for case in POOLED_CASES:
        if not wanted or case.name in wanted:
            np.savez_compressed(GOLDENS / "pooled" / f"{case.name}.npz", **reference(case))
            print(case.name, flush=True)


def reference(case: PooledCase) -> dict[str, Any]:
    made, shapes = getattr(transformers, case.model), tensor_shapes(case)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), case.config, shapes, GAIN)
        model = made.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    golden: dict[str, Any] = {}
    for index, length in enumerate(LENGTHS):
        random = np.random.RandomState(length)
        ids, types = random.randint(3, 250, length), np.zeros(length, int)
        if case.method == "score" and case.config.get("type_vocab_size") != 1:
            types[length // 3 :] = 1
        golden[f"ids_{index}"], golden[f"types_{index}"] = ids.astype(np.uint16), types.astype(np.uint8)
        golden[f"vector_{index}"] = vector(case, model, ids, types)
    facts = {
        "config": case.config,
        "shapes": shapes,
        "embedding_gain": GAIN,
        "method": case.method,
        "normalized": case.normalized,
        "texts": len(LENGTHS),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    return {"facts": json.dumps(facts), **golden}


def tensor_shapes(case: PooledCase) -> dict[str, tuple[int, ...]]:
    """Names and shapes as transformers writes them for the hub."""
    with tempfile.TemporaryDirectory() as folder:
        config = transformers.AutoConfig.for_model(**deepcopy(case.config))  # which it writes into
        getattr(transformers, case.model).from_config(config).save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@torch.no_grad()
def vector(case: PooledCase, model: Any, ids: Any, types: Any) -> Any:
    inputs = {"input_ids": torch.tensor(ids)[None], "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    if case.config["model_type"] == "bert":
        inputs["token_type_ids"] = torch.tensor(types)[None]
    if case.method == "score":
        return model(**inputs).logits[0].numpy()
    hidden = model(**inputs, output_hidden_states=True).hidden_states[-1][0]
    pooled = {"cls": hidden[0], "mean": hidden.mean(0), "last": hidden[-1]}[case.method]
    return (torch.nn.functional.normalize(pooled, dim=0) if case.normalized else pooled).numpy()


if __name__ == "__main__":
    main()
