"""LoRA adapters through transformers: the tokens that PEFT gives, asked for in any order, and no prefix shared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engines
import golden_adapters
import numpy as np
import pytest
from golden_adapters import GoldenAdapter

from stoker.kinds.torch.runtime.choice import open_runtime
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from stoker.launch.stub.runtime import RunningSequence, Runtime
from stoker.resolve.adapter_matrices import read_matrices

NAMES = [name for name in golden_adapters.adapter_names() if name.startswith("tied")]


@pytest.mark.parametrize("name", ["biased_all_r8", "fused_all_r16", "normed_one_layer_r32"])
def test_the_tokens_of_other_families_agree(name: str, tmp_path: Path) -> None:
    golden = golden_adapters.load_adapter(name)
    (tmp_path / "base").mkdir()
    engines.golden(golden.base, tmp_path / "base")
    adapter = Adapter(1, str(golden.write(tmp_path / "adapter")))
    runtime = open_runtime(engines.settings(tmp_path / "base", max_loras=1, max_lora_rank=64))
    try:
        generations = [Generation(str(n), prompt, 64, adapter=adapter) for n, prompt in enumerate(golden.inputs)]
        assert engines.run(runtime, generations)[0] == golden.continuations
    finally:
        runtime.close()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[Adapter, GoldenAdapter]:
    """Golden adapters of one base."""
    folder = tmp_path_factory.mktemp("adapters")
    goldens = [golden_adapters.load_adapter(name) for name in NAMES]
    return {Adapter(n + 1, str(each.write(folder / each.name))): each for n, each in enumerate(goldens)}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[int]], list[list[int]]]:
    """Its directory, prompts and continuations."""
    directory = tmp_path_factory.mktemp("base")
    prompts, continuations, _ = engines.golden("llama_gqa_tied", directory)
    return directory, prompts, continuations


@pytest.fixture(scope="module")
def runtime(base: Any) -> Iterator[Runtime]:
    runtime = open_runtime(engines.settings(base[0], max_loras=len(NAMES), max_lora_rank=64))
    yield runtime
    runtime.close()


def test_adapters_and_the_base_take_turns(runtime: Runtime, base: Any, shelf: dict[Adapter, GoldenAdapter]) -> None:
    """Asked for in turn, so that each finds what the others could have left."""
    generations: list[tuple[list[int], Adapter | None, list[int]]] = [
        (prompt, None, tokens) for prompt, tokens in zip(*base[1:], strict=True)
    ]
    for adapter, golden in shelf.items():
        own = list(zip(golden.inputs, golden.continuations, strict=True))
        generations += [(prompt, adapter, tokens) for prompt, tokens in own]
    generations = generations[::2] + generations[1::2]
    asked = [Generation(str(n), prompt, 64, adapter=adapter) for n, (prompt, adapter, _) in enumerate(generations)]
    assert engines.run(runtime, asked)[0] == [tokens for _, _, tokens in generations]


def test_no_prefix_is_shared(runtime: Runtime, shelf: dict[Adapter, GoldenAdapter]) -> None:
    """One prompt of several blocks for all, one after another."""
    prompt, users = [3 + index % 200 for index in range(100)], [None, *list(shelf)[:2]]
    alone = [engines.run(runtime, [Generation("x", prompt, 16, adapter=each)])[0][0] for each in users]
    assert len({str(tokens) for tokens in alone}) == len(users)
    assert [engines.run(runtime, [Generation("x", prompt, 16, adapter=each)])[0][0] for each in users] == alone


@pytest.mark.parametrize("waiting", ["base", "other"])
def test_a_steady_stream_of_one_adapter_does_not_keep_others_waiting(
    waiting: str, runtime: Runtime, shelf: dict[Adapter, GoldenAdapter]
) -> None:
    """A new request for it comes with each answer, for ever; the other waits for those that ran when it came."""
    busy, another, *_ = shelf
    other = None if waiting == "base" else another
    numbers = itertools.count()

    def more() -> RunningSequence:
        return runtime.add(Generation(f"busy{next(numbers)}", [3, 4, 5], 8, adapter=busy))

    streams = [more() for _ in range(4)]
    while not any(stream.read().ids for stream in streams):
        runtime.step()
    held, ended = runtime.add(Generation("held", [6, 7], 4, adapter=other)), 0
    while not (output := held.read()).ids:
        runtime.step()
        for index, stream in enumerate(streams):
            if stream.read().ended:
                streams[index], ended = more(), ended + 1
        assert ended <= len(streams), "those that came later went first"
    assert not output.refused
    while not held.read().ended:
        runtime.step()
    for stream in streams:
        stream.cancel()


def test_cancelled_sequences_neither_hold_a_turn_nor_come_to_one(
    runtime: Runtime, base: Any, shelf: dict[Adapter, GoldenAdapter]
) -> None:
    first, second = list(shelf)[:2]
    running = runtime.add(Generation("running", [3, 4, 5], 400, adapter=first))
    while not running.read().ids:
        runtime.step()
    held = runtime.add(Generation("held", [3, 4, 5], 400, adapter=second))
    held.cancel()
    running.cancel()
    assert engines.run(runtime, [Generation("base", base[1][0], 64)])[0] == base[2][:1]
    assert held.read().over


def test_what_does_not_fit_is_refused_by_name_and_costs_nobody_else(
    runtime: Runtime, base: Any, tmp_path: Path
) -> None:
    golden = golden_adapters.load_adapter(NAMES[0])
    renamed = {name.replace("q_proj", "r_proj"): shape for name, shape in golden.facts["shapes"].items()}
    wider = {name: (shape[0], shape[1] + ("lora_A" in name)) for name, shape in golden.facts["shapes"].items()}
    for number, (shapes, why) in enumerate(((renamed, "has no such module"), (wider, "in the adapter"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        golden_adapters.write_adapter(folder, golden.facts["config"], shapes)
        with pytest.raises(RequestRefusedError, match=r"does not fit layers\.\d") as refused:
            runtime.add(Generation("x", [3, 4], 4, adapter=Adapter(90 + number, str(folder))))
        assert why in str(refused.value)
    with pytest.raises(RequestRefusedError, match="cannot be read"):
        runtime.add(Generation("x", [3, 4], 4, adapter=Adapter(99, str(tmp_path / "vanished"))))
    assert engines.run(runtime, [Generation("base", base[1][0], 64)])[0] == base[2][:1]


def test_a_base_in_bf16_is_as_near_to_f32_with_an_adapter_as_without(
    base: Any, shelf: dict[Adapter, GoldenAdapter]
) -> None:
    """Mean absolute errors of log probabilities, in nats, beside the adapter merged into the checkpoint in f32."""
    settings = engines.settings(base[0], max_loras=1, max_lora_rank=64, activation_precision="bf16", precision="bf16")
    runtime, errors = open_runtime(settings), []
    try:
        for adapter in (None, next(each for each, golden in shelf.items() if golden.name == "tied_all_r64")):
            generations = [Generation("x", prompt, 32, log_probs=True, adapter=adapter) for prompt in base[1]]
            ids, found = engines.run(runtime, generations)
            matrices = read_matrices(Path(adapter.directory)) if adapter else {}
            expected = engines.merged_log_probs(base[0], matrices, list(zip(base[1], ids, strict=True)))
            errors.append(float(np.abs(np.subtract(np.concatenate(found), expected)).mean()))
    finally:
        runtime.close()
    alone, adapted = errors
    assert alone < 0.2, "the base itself is off"
    assert adapted < alone + 0.1
