"""LoRA adapters through transformers: the tokens that PEFT gives, asked for in any order, and no prefix shared."""

from __future__ import annotations

from pathlib import Path

import engines
import golden_adapters
import pytest

from stoker.kinds.torch.runtime.choice import open_runtime
from stoker.launch.generation import Adapter, Generation, RequestRefusedError

NAMES = [name for name in golden_adapters.adapter_names() if name.startswith("tied")]


@pytest.mark.parametrize("name", ["biased_all_r8", "fused_all_r16", "normed_one_layer_r32"])
def test_the_tokens_of_other_families_agree(name: str, tmp_path: Path) -> None:
    golden = golden_adapters.load_adapter(name)
    (tmp_path / "base").mkdir()
    engines.golden(golden.base, tmp_path / "base")
    adapter = Adapter(1, str(golden.write(tmp_path / "adapter")))
    runtime = open_runtime(engines.settings(tmp_path / "base", max_loras=1, max_lora_rank=64))
    try:
        wishes = [Generation(str(n), prompt, 64, adapter=adapter) for n, prompt in enumerate(golden.inputs)]
        assert engines.run(runtime, wishes)[0] == golden.continuations
    finally:
        runtime.close()


def test_adapters_and_the_base_take_turns(tmp_path: Path) -> None:
    """Mixed, and twice, so that each finds what the others could have left in the cache."""
    (tmp_path / "base").mkdir()
    prompts, continuations, _ = engines.golden("llama_gqa_tied", tmp_path / "base")
    goldens = [golden_adapters.load_adapter(name) for name in NAMES]
    adapters = [Adapter(n + 1, str(each.write(tmp_path / each.name))) for n, each in enumerate(goldens)]
    wishes = [(prompts[n], None, continuations[n]) for n in range(len(prompts))]
    for golden, adapter in zip(goldens, adapters, strict=True):
        wishes += [(golden.inputs[n], adapter, golden.continuations[n]) for n in range(len(golden.inputs))]
    wishes = wishes[::2] + wishes[1::2]
    shared = [3 + index % 200 for index in range(100)]
    runtime = open_runtime(engines.settings(tmp_path / "base", max_loras=3, max_lora_rank=64))
    try:
        for _ in range(2):
            asked = [Generation(str(n), prompt, 64, adapter=adapter) for n, (prompt, adapter, _) in enumerate(wishes)]
            assert engines.run(runtime, asked)[0] == [tokens for _, _, tokens in wishes]
        users = [None, *adapters[:2]]
        alone = [engines.run(runtime, [Generation("x", shared, 16, adapter=each)])[0][0] for each in users]
        assert len({str(tokens) for tokens in alone}) == len(users)
        asked = [Generation(str(n), shared, 16, adapter=each) for n, each in enumerate(users)]
        assert engines.run(runtime, asked)[0] == alone
        other = golden_adapters.load_adapter("fused_all_r16").write(tmp_path / "other")
        with pytest.raises(RequestRefusedError, match="does not fit"):
            runtime.add(Generation("y", shared, 4, adapter=Adapter(9, str(other))))
    finally:
        runtime.close()
