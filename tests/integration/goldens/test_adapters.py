"""LoRA adapters on OpenVINO: the tokens that PEFT gives, alone, with other adapters and with the base in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import golden_adapters
import golden_run
import pytest
from golden_adapters import GoldenAdapter
from tests.engine_settings import engine_settings
from tests.running import tokens_of

from stoker.kinds.openvino.build.builder import build_graph
from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.kinds.openvino.build.plain import PlainEncoding
from stoker.kinds.openvino.build.save import save_graph, write_targets
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Adapter, Generation, RequestRefusedError

RUNTIME = "stoker.kinds.openvino.runtime.choice:open_runtime"
TIED = [name for name in golden_adapters.adapter_names() if name.startswith("tied")]
OTHERS = [name for name in golden_adapters.adapter_names() if name not in TIED]

Open = Callable[..., PagedRuntime]


def engine(base: str, directory: Path, *, few_rows: bool = False) -> Path:
    """The golden base in f32, built to take adapters."""
    golden = golden_run.load(base)
    golden_run.write_model(directory, *(golden.facts[key] for key in ("config", "shapes", "embedding_gain")))
    checkpoint, length = open_checkpoint(directory), golden.facts["max_seq_len"]
    graph = build_graph(
        golden.facts["config"], checkpoint, PlainEncoding("f32"), length, few_rows=few_rows, adapters=True
    )
    save_graph(graph, directory)
    write_targets(graph, directory)
    return directory


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engine("llama_gqa_tied", tmp_path_factory.mktemp("tied"))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    runtimes = []

    def open_(directory: Path, **changes: Any) -> PagedRuntime:
        limits = {"max_batch_size": 16, "max_loras": 4, "max_lora_rank": 64, "kv_blocks": 256, "threads": 2}
        runtime = PagedRuntime(
            replace(engine_settings(RUNTIME, directory, **{**limits, **changes}), run_directory=str(tmp_path))
        )
        runtimes.append(runtime)
        return runtime

    yield open_
    for runtime in runtimes:
        runtime.close()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[GoldenAdapter, Adapter]]:
    """Golden adapters by name, each with a number of its own."""
    folder, names = tmp_path_factory.mktemp("adapters"), golden_adapters.adapter_names()

    def take(name: str) -> tuple[GoldenAdapter, Adapter]:
        golden = golden_adapters.load_adapter(name)
        return golden, Adapter(names.index(name) + 1, str(golden.write(folder / name)))

    return take


def run(
    runtime: PagedRuntime, requests: Sequence[tuple[Sequence[int], Adapter | None]], count: int = 64
) -> list[list[int]]:
    return tokens_of(
        runtime, [Generation(str(n), prompt, count, adapter=adapter) for n, (prompt, adapter) in enumerate(requests)]
    )


def test_adapters_and_the_base_in_one_batch_give_the_tokens_that_each_gives_alone(tied, opened, shelf) -> None:
    """Twice: what the first round leaves in the prefix cache must not reach another adapter in the second."""
    base = golden_run.load("llama_gqa_tied")
    goldens = [shelf(name) for name in TIED]
    runtime = opened(tied)
    for golden, adapter in goldens:
        assert run(runtime, [(prompt, adapter) for prompt in golden.inputs]) == golden.continuations
    mixed = [(prompt, adapter) for golden, adapter in goldens for prompt in golden.inputs]
    requests = [*mixed, *((prompt, None) for prompt in base.inputs)]
    expected = [*(tokens for golden, _ in goldens for tokens in golden.continuations), *base.continuations]
    assert run(runtime, requests) == expected
    assert run(runtime, requests[::-1]) == expected[::-1]


@pytest.mark.parametrize("name", OTHERS)
def test_other_families_give_the_tokens_that_peft_gives(name, tmp_path, opened, shelf) -> None:
    golden, adapter = shelf(name)
    base = golden_run.load(golden.base)
    runtime = opened(engine(golden.base, tmp_path))
    requests = [*((prompt, adapter) for prompt in golden.inputs), *((prompt, None) for prompt in base.inputs)]
    assert run(runtime, requests) == [*golden.continuations, *base.continuations]


def test_the_prefix_cache_is_never_shared_between_adapters(tied, opened, shelf) -> None:
    """One prompt of several blocks for all, one after another, so that each finds what the former left."""
    first, second = shelf("tied_all_r64")[1], shelf("tied_rslora_r16")[1]
    prompt = [3 + index % 200 for index in range(150)]
    fresh = {}
    for adapter in (None, first, second):
        fresh[adapter] = run(opened(tied), [(prompt, adapter)], 16)
    runtime = opened(tied)
    run(runtime, [(prompt, second), (prompt, first)], 1)  # both are in the graph from here on
    for adapter in (first, None, second, first, None, second):
        assert run(runtime, [(prompt, adapter)], 16) == fresh[adapter]
    assert len({str(tokens) for tokens in fresh.values()}) == 3


def test_filled_up_rows_change_nothing(tmp_path, opened, shelf) -> None:
    golden, adapter = shelf("tied_all_r64")
    runtime = opened(engine("llama_gqa_tied", tmp_path, few_rows=True))
    assert run(runtime, [(golden.inputs[0], adapter)]) == golden.continuations[:1]
    assert run(runtime, [(prompt, adapter) for prompt in golden.inputs]) == golden.continuations


def test_more_adapters_than_places_take_turns(tied, opened, shelf) -> None:
    runtime = opened(tied, max_loras=1)
    goldens = [shelf(name) for name in TIED]
    requests = [(golden.inputs[index], adapter) for index in range(2) for golden, adapter in goldens]
    expected = [golden.continuations[index] for index in range(2) for golden, _ in goldens]
    assert run(runtime, requests) == expected


def test_what_the_graph_has_no_place_for_is_refused_by_name(tied, opened, shelf, tmp_path) -> None:
    golden, adapter = shelf("tied_attention_r4")
    runtime = opened(tied)
    shapes = {name.replace("q_proj", "r_proj"): shape for name, shape in golden.facts["shapes"].items()}
    golden_adapters.write_adapter(tmp_path, golden.facts["config"], shapes)
    with pytest.raises(RequestRefusedError, match="takes no adapter for model.layers.0.self_attn.r_proj"):
        runtime.add(Generation("a", [3, 4], 4, adapter=Adapter(9, str(tmp_path))))
    with pytest.raises(RequestRefusedError, match="planned without --max-loras"):
        opened(tied, max_loras=0).add(Generation("b", [3, 4], 4, adapter=adapter))


def test_a_cancelled_sequence_does_not_keep_others_waiting(tied, opened, shelf) -> None:
    runtime = opened(tied)
    golden, adapter = shelf("tied_patterns")
    waiting = runtime.add(Generation("a", golden.inputs[0], 4, adapter=adapter))
    waiting.cancel()
    base = golden_run.load("llama_gqa_tied")
    assert run(runtime, [(base.inputs[0], None)]) == base.continuations[:1]
