"""vLLM's CPU build: `python vllm_cpu.py MODEL_DIRECTORY`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_USE_AOT_COMPILE", "0")  # vLLM 0.32 cannot load what it kept, and compiles at each start

from loop import serve

import vllm


def main() -> None:
    engine = vllm.LLM(
        sys.argv[1], dtype="bfloat16", max_model_len=2048, max_num_seqs=32, disable_log_stats=True, seed=0
    )

    def generate(prompts: Sequence[Sequence[int]], new: int) -> None:
        sampling = vllm.SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)
        engine.generate([{"prompt_token_ids": list(prompt)} for prompt in prompts], sampling, use_tqdm=False)

    serve(generate, {"version": f"vLLM {vllm.__version__}"})


if __name__ == "__main__":
    main()
