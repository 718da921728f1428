"""The golden models of the compiled engines, through vLLM: every token of transformers' references."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden_weights import write_model
from tests.running import tokens_of
from tests.vllm.conftest import INTEGRATION, direct_settings, eager_engine

from stoker.kinds.vllm.runtime.alone import HostRuntime
from stoker.launch.generation import Generation

REFERENCE = INTEGRATION / "goldens" / "reference"


@pytest.mark.parametrize("name", ["llama3_rope", "qwen3_moe", "gemma3"])
def test_the_greedy_tokens_of_a_batch_agree(name: str, tmp_path: Path) -> None:
    with np.load(REFERENCE / f"{name}.npz") as file:
        facts = json.loads(str(file["facts"]))
        prompts = [file[f"prompt_{index}"].tolist() for index in range(facts["prompts"])]
        expected = [file[f"tokens_{index}"].tolist() for index in range(facts["prompts"])]
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    write_model(checkpoint, facts["config"], facts["shapes"], facts["embedding_gain"])
    engine = eager_engine(tmp_path / "engine", checkpoint, skip_tokenizer_init=True)
    runtime = HostRuntime(direct_settings(engine, tmp_path, max_seq_len=int(facts["max_seq_len"] or 512)))
    try:
        assert generated(runtime, prompts, len(expected[0])) == expected
    finally:
        runtime.close()


def generated(runtime: HostRuntime, prompts: list[list[int]], count: int) -> list[list[int]]:
    return tokens_of(runtime, [Generation(str(n), prompt, count) for n, prompt in enumerate(prompts)])
