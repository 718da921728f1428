"""PyTorch beside us: transformers' generate, run by the baseline environment's Python.

`python torch_generate.py DIRECTORY DTYPE STREAMS PROMPT_TOKENS NEW_TOKENS` prints {"seconds", "tokens"}.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

directory, dtype, *numbers = sys.argv[1:]
streams, prompt_tokens, new_tokens = map(int, numbers)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()
prompt = torch.randint(2, 2000, (streams, prompt_tokens))
options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
with torch.inference_mode():
    model.generate(prompt, max_new_tokens=2, **options)
    began = time.perf_counter()
    model.generate(prompt, max_new_tokens=new_tokens, min_new_tokens=new_tokens, **options)
    seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "tokens": streams * new_tokens}))
