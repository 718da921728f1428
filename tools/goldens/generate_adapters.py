"""Makes the golden adapters: `python tools/goldens/generate_adapters.py [CASE...]`, with torch, transformers and peft.

For every case: a base of cases.py with a random LoRA, run by PEFT in float32. Stored are PEFT's adapter_config.json,
the tensors' names and shapes, prompts, and 64 greedy tokens each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
GOLDENS = HERE.parents[1] / "tests" / "integration" / "goldens"
sys.path[:0] = [str(HERE), str(GOLDENS)]

from adapter_cases import ADAPTER_CASES, AdapterCase  # noqa: E402
from generate import MARGIN, NEW_TOKENS  # noqa: E402
from golden_adapters import write_adapter  # noqa: E402
from golden_weights import write_model  # noqa: E402

PROMPTS = (3, 23, 70)


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    wanted = set(sys.argv[1:])
    for case in ADAPTER_CASES:
        if not wanted or case.name in wanted:
            np.savez_compressed(GOLDENS / "adapters" / f"{case.name}.npz", **reference(case))
            print(case.name, flush=True)


def reference(case: AdapterCase) -> dict[str, Any]:
    with np.load(GOLDENS / "reference" / f"{case.base}.npz") as file:
        base = json.loads(str(file["facts"]))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as place:
        write_model(Path(folder), base["config"], base["shapes"], base["embedding_gain"])
        config, shapes = described(case, folder)
        write_adapter(Path(place), config, shapes)
        model = peft.PeftModel.from_pretrained(plain(folder), place).eval()
        facts = {"base": case.base, "config": config, "shapes": shapes, "prompts": len(PROMPTS)}
        facts |= {"peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
        golden: dict[str, Any] = {"facts": json.dumps(facts)}
        for index, length in enumerate(PROMPTS):
            prompt, tokens = clear_continuation(case, model, length, base["config"]["vocab_size"])
            golden |= {f"prompt_{index}": prompt.astype(np.uint16), f"tokens_{index}": tokens.astype(np.uint16)}
        return golden


def plain(folder: str) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def described(case: AdapterCase, folder: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """adapter_config.json, and names and shapes of tensors, as PEFT writes them."""
    model = peft.get_peft_model(plain(folder), peft.LoraConfig(task_type="CAUSAL_LM", **case.config))
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        config = json.loads((Path(place) / "adapter_config.json").read_text())
        with safe_open(f"{place}/adapter_model.safetensors", "np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {**config, "base_model_name_or_path": f"golden/{case.base}"}, shapes


def clear_continuation(case: AdapterCase, model: Any, length: int, vocabulary: int) -> tuple[Any, Any]:
    """A random prompt for which every best token is clear and the text does not go in circles, and its tokens."""
    random = np.random.RandomState(1000 + length)
    for _ in range(200):
        prompt = random.randint(3, vocabulary - 6, length)
        tokens = continuation(model, prompt)
        if tokens is not None:
            return prompt, tokens
    raise SystemExit(f"{case.name}: no prompt of {length} tokens with clear margins")


@torch.no_grad()
def continuation(model: Any, prompt: Any) -> Any | None:
    inputs = torch.tensor(prompt)[None]
    model.generation_config.eos_token_id = None
    made = model.generate(
        input_ids=inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = np.sort(torch.stack(made.logits)[:, 0].numpy(), axis=-1)[:, -2:]
    tokens = made.sequences[0, len(prompt) :].numpy()
    if np.min(best[:, 1] - best[:, 0]) < MARGIN or len(set(tokens.tolist())) < 16:
        return None
    return tokens


if __name__ == "__main__":
    main()
