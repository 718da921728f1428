"""Fills in tests/unit/build/rope_reference.json: `python tools/goldens/generate_rope.py`, with torch and transformers.

For each entry's architecture and config, and the sizes that the tests use: the frequencies and amplitude of the rotary
embedding that transformers makes for a sequence of `context` tokens. Add an entry without `ropes` and run this.
"""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

BUILD = Path(__file__).resolve().parents[2] / "tests" / "unit" / "build"
REFERENCE = BUILD / "rope_reference.json"
sys.path.insert(0, str(BUILD))

from rope_sizes import sized  # noqa: E402

MODEL_TYPES = {name: model_type for model_type, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()}


def main() -> None:
    transformers.logging.set_verbosity_error()
    cases = [{**case, "ropes": ropes(case)} for case in json.loads(REFERENCE.read_bytes())]
    lines = ",\n".join(map(json.dumps, cases))
    REFERENCE.write_text(f"[\n{lines}\n]\n")


def ropes(case: dict[str, Any]) -> dict[str, Any]:
    config = deepcopy(sized(case["architecture"], case["config"]))  # transformers writes into it
    loaded = transformers.AutoConfig.for_model(MODEL_TYPES[case["architecture"]], **config, pad_token_id=0)
    rotary: Any = transformers.AutoModelForCausalLM.from_config(loaded).model.rotary_emb
    layers = getattr(rotary, "layer_types", None)
    inputs = (torch.zeros(1), torch.arange(case["context"])[None])  # a call settles what depends on the length
    if layers is None:
        rotary(*inputs)
        return {"": rope(rotary.inv_freq, rotary.attention_scaling)}
    for layer in layers:
        rotary(*inputs, layer)
    return {
        layer: rope(getattr(rotary, f"{layer}_inv_freq"), getattr(rotary, f"{layer}_attention_scaling"))
        for layer in layers
    }


def rope(frequencies: Any, amplitude: float) -> dict[str, Any]:
    return {"frequencies": [rounded(each) for each in frequencies.tolist()], "amplitude": rounded(amplitude)}


def rounded(number: float) -> float:
    return float(f"{number:.7g}")


if __name__ == "__main__":
    main()
