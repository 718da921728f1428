"""The golden models of the compiled engines, through transformers: every token of the references."""

from __future__ import annotations

from pathlib import Path

import engines
import pytest

from stoker.kinds.torch.runtime.choice import open_runtime
from stoker.kinds.torch.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation

TAKE_TURNS = ("gemma2",)  # soft-capped attention


@pytest.mark.parametrize("name", engines.golden_names())
def test_the_greedy_tokens_of_a_batch_agree(name: str, tmp_path: Path) -> None:
    prompts, continuations, longest = engines.golden(name, tmp_path)
    runtime = open_runtime(engines.settings(tmp_path, max_seq_len=longest))
    try:
        assert isinstance(runtime, PagedRuntime) == (name not in TAKE_TURNS)
        generations = [Generation(str(index), prompt, 64) for index, prompt in enumerate(prompts)]
        tokens, _ = engines.run(runtime, generations)
    finally:
        runtime.close()
    assert tokens == continuations
