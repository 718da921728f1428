"""transformers' `generate`: `python transformers_generate.py MODEL_DIRECTORY`. Prompts of a load are equally long."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
import transformers
from loop import serve

model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16).eval()


def generate(prompts: Sequence[Sequence[int]], new: int) -> None:
    ids = torch.tensor(prompts)
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": new}
    with torch.inference_mode():
        model.generate(ids, attention_mask=torch.ones_like(ids), **options)


serve(generate, {"version": f"transformers {transformers.__version__}, PyTorch {torch.__version__}"})
