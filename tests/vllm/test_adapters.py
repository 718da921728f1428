"""LoRA adapters on vLLM: the tokens that PEFT gives, alone, with other adapters and with the base in one batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import golden_adapters
import numpy as np
import pytest
from golden_adapters import GoldenAdapter
from golden_weights import write_model
from tests.running import tokens_of
from tests.vllm.conftest import INTEGRATION, chosen, direct_settings, eager_engine

from stoker.kinds.vllm.arguments import engine_arguments
from stoker.kinds.vllm.runtime.alone import HostRuntime
from stoker.launch.generation import Adapter, Generation

REFERENCE = INTEGRATION / "goldens" / "reference"
NAMES = [name for name in golden_adapters.adapter_names() if name.startswith("tied")]

Request = tuple[Sequence[int], Adapter | None]


@pytest.fixture(scope="module")
def base() -> tuple[list[list[int]], list[list[int]]]:
    with np.load(REFERENCE / "llama_gqa_tied.npz") as file:
        count = json.loads(str(file["facts"]))["prompts"]
        return [file[f"prompt_{n}"].tolist() for n in range(count)], [
            file[f"tokens_{n}"].tolist() for n in range(count)
        ]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[GoldenAdapter, Adapter]]:
    folder = tmp_path_factory.mktemp("adapters")
    goldens = [golden_adapters.load_adapter(name) for name in NAMES]
    return [(golden, Adapter(n + 1, str(golden.write(folder / golden.name)))) for n, golden in enumerate(goldens)]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostRuntime]:
    folder = tmp_path_factory.mktemp("vllm")
    with np.load(REFERENCE / "llama_gqa_tied.npz") as file:
        facts = json.loads(str(file["facts"]))
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    write_model(checkpoint, facts["config"], facts["shapes"], facts["embedding_gain"])
    engine = eager_engine(folder / "engine", checkpoint, skip_tokenizer_init=True)
    runtime = HostRuntime(direct_settings(engine, folder, max_seq_len=512, max_loras=4, max_lora_rank=64))
    yield runtime
    runtime.close()


def run(runtime: HostRuntime, requests: Sequence[Request]) -> list[list[int]]:
    return tokens_of(
        runtime, [Generation(str(n), prompt, 64, adapter=adapter) for n, (prompt, adapter) in enumerate(requests)]
    )


def test_adapters_and_the_base_in_one_batch_give_the_tokens_that_each_gives_alone(runtime, shelf, base) -> None:
    """Twice: what the first round leaves in the prefix cache must not reach another adapter in the second."""
    for golden, adapter in shelf:
        assert run(runtime, [(prompt, adapter) for prompt in golden.inputs]) == golden.continuations
    requests = [(prompt, adapter) for golden, adapter in shelf for prompt in golden.inputs]
    requests += [(prompt, None) for prompt in base[0]]
    expected = [*(tokens for golden, _ in shelf for tokens in golden.continuations), *base[1]]
    assert run(runtime, requests) == expected
    assert run(runtime, requests[::-1]) == expected[::-1]


def test_the_prefix_cache_is_never_shared_between_adapters(runtime, shelf) -> None:
    """One prompt of several blocks for all, one after another, so that each finds what the former left."""
    prompt = [3 + index % 200 for index in range(100)]
    users = [None, *(adapter for _, adapter in shelf[:2])]
    first = [run(runtime, [(prompt, adapter)])[0] for adapter in users]
    assert len({str(tokens) for tokens in first}) == len(users)
    assert [run(runtime, [(prompt, adapter)])[0] for adapter in users] == first


def test_an_adapter_that_does_not_fit_is_refused_and_the_engine_goes_on(runtime, shelf, base, tmp_path) -> None:
    other = Adapter(77, str(golden_adapters.load_adapter("fused_all_r16").write(tmp_path / "other")))
    sequence = runtime.add(Generation("x", base[0][0], 4, adapter=other))
    while not (output := sequence.read()).over:
        runtime.step()
    assert "adapter" in output.refused
    assert run(runtime, [(base[0][0], None)]) == base[1][:1]


def test_ranks_are_those_that_vllm_has() -> None:
    assert engine_arguments(chosen(max_loras=3, max_lora_rank=24), 1 << 20)["max_lora_rank"] == 32
    assert "enable_lora" not in engine_arguments(chosen(), 1 << 20)
