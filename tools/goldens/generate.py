"""Makes the golden files: `python tools/goldens/generate.py [CASE...]`, in an environment with torch and transformers.

For every case: a tiny random model, run by transformers in float32 with eager attention. Stored are the config, the
tensors' names and shapes, the size of their values, prompts, 64 greedy tokens each, and some of the logits.
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
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
GOLDENS = HERE.parents[1] / "tests" / "integration" / "goldens"
sys.path[:0] = [str(HERE), str(GOLDENS)]

from cases import CASES, Case  # noqa: E402
from golden_weights import write_model  # noqa: E402

NEW_TOKENS = 64
MARGIN = 0.005
"""Between the best and the second logit at every greedy step: far above rounding, so that tokens must agree."""


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    wanted = set(sys.argv[1:])
    for case in CASES:
        if not wanted or case.name in wanted:
            make(case)


def make(case: Case) -> None:
    golden = reference(case, tensor_shapes(case))
    np.savez_compressed(GOLDENS / "reference" / f"{case.name}.npz", **golden)
    print(case.name, flush=True)


def tensor_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Names and shapes as transformers writes them for the hub."""
    with tempfile.TemporaryDirectory() as folder:
        config = transformers.AutoConfig.for_model(**deepcopy(case.config))  # which it writes into
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def reference(case: Case, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), case.config, shapes, case.embedding_gain)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
    golden: dict[str, Any] = {}
    for index, length in enumerate(case.prompts):
        part = clear_continuation(case, model, length)
        golden |= {f"{key}_{index}": value for key, value in part.items()}
    facts = {
        "config": case.config,
        "shapes": shapes,
        "embedding_gain": case.embedding_gain,
        "max_seq_len": case.max_seq_len,
    }
    facts |= {"prompts": len(case.prompts), "transformers": transformers.__version__, "torch": torch.__version__}
    return {"facts": json.dumps(facts), **golden}


def clear_continuation(case: Case, model: Any, length: int) -> dict[str, Any]:
    """Of a random prompt for which every best token is clear and the text does not go in circles."""
    random = np.random.RandomState(length)
    for _ in range(100):
        part = continuation(model, random.randint(3, 250, length))
        if part is not None:
            return part
    raise SystemExit(f"{case.name}: no prompt of {length} tokens with clear margins")


@torch.no_grad()
def continuation(model: Any, prompt: Any) -> dict[str, Any] | None:
    inputs = torch.tensor(prompt)[None]
    prefill = model(inputs).logits[0].numpy()
    model.generation_config.eos_token_id = None
    made = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    decode = torch.stack(made.logits)[:, 0].numpy()
    tokens = made.sequences[0, len(prompt) :].numpy()
    best = np.sort(decode, axis=-1)[:, -2:]
    if np.min(best[:, 1] - best[:, 0]) < MARGIN or len(set(tokens.tolist())) < 16:
        return None
    before = np.unique(np.linspace(0, len(prompt) - 1, 6).astype(int))
    after = np.array([0, 1, 2, 15, 16, 31, 47, 63])
    return {
        "prompt": prompt.astype(np.uint16),
        "tokens": tokens.astype(np.uint16),
        "prefill_at": before.astype(np.uint16),
        "prefill": prefill[before],
        "decode_at": after.astype(np.uint16),
        "decode": decode[after],
    }


if __name__ == "__main__":
    main()
