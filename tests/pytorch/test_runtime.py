"""Both runtimes: what a request may ask for, and what becomes of one that leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import engines
import pytest

from stoker.kinds.torch.runtime.choice import open_runtime
from stoker.kinds.torch.runtime.paged import PagedRuntime
from stoker.kinds.torch.runtime.turns import ContiguousRuntime
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Runtime

PROMPT = tuple(range(5, 45))


@pytest.fixture(scope="module")
def paged(llama: Path) -> Iterator[Runtime]:
    runtime = open_runtime(engines.settings(llama, max_num_tokens=32))
    assert isinstance(runtime, PagedRuntime)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def turns(stablelm: Path) -> Iterator[Runtime]:
    runtime = open_runtime(engines.settings(stablelm, max_num_tokens=32))
    assert isinstance(runtime, ContiguousRuntime)
    yield runtime
    runtime.close()


def random_one(seed: int, **given: object) -> Generation:
    return Generation("random", PROMPT, 16, temperature=1.0, seed=seed, **given)  # type: ignore[arg-type]


def test_a_family_without_paging_gives_the_tokens_of_generate(turns: Runtime, stablelm: Path) -> None:
    ids, _ = engines.run(turns, [Generation("one", PROMPT, 24), Generation("other", (7, 8, 9), 24)])
    assert ids == [engines.reference(stablelm, PROMPT, 24), engines.reference(stablelm, (7, 8, 9), 24)]


@pytest.mark.parametrize("kind", ["paged", "turns"])
def test_each_request_is_sampled_as_it_asks(kind: str, request: pytest.FixtureRequest) -> None:
    runtime = request.getfixturevalue(kind)
    generations = [
        *(random_one(1), random_one(1), random_one(2), random_one(1, top_k=1)),
        *(Generation("greedy", PROMPT, 16), random_one(3, top_p=1e-6), random_one(4, min_p=1.0)),
    ]
    (first, again, other, *greedy), _ = engines.run(runtime, generations)
    assert first == again
    assert first != other
    assert len({tuple(ids) for ids in greedy}) == 1
    assert first != greedy[0]


def test_a_request_s_tokens_do_not_hang_on_what_runs_beside_it(paged: Runtime) -> None:
    (alone,), _ = engines.run(paged, [random_one(5)])
    (beside, *_), _ = engines.run(paged, [random_one(5), random_one(6, top_k=3, top_p=0.9), random_one(7, min_p=0.1)])
    assert beside == alone


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_log_probabilities_are_the_model_s_own(paged: Runtime, llama: Path, temperature: float) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    generation = Generation(
        "log", PROMPT, 12, temperature=temperature, top_k=50 if temperature else None, log_probs=True
    )
    (ids,), (found,) = engines.run(paged, [generation])
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([[*PROMPT, *ids]])).logits[0, len(PROMPT) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None]).squeeze(-1)
    assert found == pytest.approx(expected.tolist(), abs=1e-4)


def test_int8_weights_are_quantised_while_they_are_loaded_and_stay_close(llama: Path) -> None:
    import torch
    from torchao.utils import TorchAOBaseTensor
    from transformers import AutoModelForCausalLM

    runtime = open_runtime(engines.settings(llama, precision="int8"))
    try:
        assert isinstance(runtime, PagedRuntime)
        layers = runtime._manager.model.model.layers
        (ids,), (found,) = engines.run(runtime, [Generation("int8", PROMPT, 12, log_probs=True)])
    finally:
        runtime.close()
    weights = [layer.self_attn.q_proj.weight for layer in layers]
    assert all(isinstance(weight, TorchAOBaseTensor) and weight.qdata.dtype == torch.int8 for weight in weights)
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([[*PROMPT, *ids]])).logits[0, len(PROMPT) - 1 : -1]
    whole = logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None]).squeeze(-1).tolist()
    assert found == pytest.approx(whole, abs=0.05)
    assert found != pytest.approx(whole, abs=1e-5)


def test_it_ends_at_any_of_the_end_ids(paged: Runtime) -> None:
    (ids,), _ = engines.run(paged, [Generation("whole", PROMPT, 16)])
    end = ids[3]
    (ended,), _ = engines.run(paged, [Generation("ended", PROMPT, 16, end_ids=(2047, end))])
    assert ended == ids[: ids.index(end) + 1]


def test_a_cancelled_request_leaves_the_engine_before_its_next_step(paged: PagedRuntime) -> None:
    sequence = paged.add(Generation("long", PROMPT, 400))
    while not sequence.read().ids:
        paged.step()
    scheduler = paged._manager.batch_processor.scheduler
    assert scheduler.active_requests
    sequence.cancel()
    before = paged._manager.current_batch
    while scheduler.active_requests:
        paged.step()
    assert paged._manager.current_batch - before <= 2


def test_more_than_the_cache_holds_is_computed_again(llama: Path) -> None:
    """Six sequences of 120 tokens in a cache of 256: some are put off, and all get their own tokens."""
    settings = engines.settings(llama, kv_blocks=8, max_seq_len=200, max_batch_size=6)
    runtime = open_runtime(settings)
    roomy = open_runtime(dataclasses.replace(settings, kv=dataclasses.replace(settings.kv, blocks=64)))
    generations = [Generation(str(start), tuple(range(start, start + 40)), 80) for start in range(10, 70, 10)]
    try:
        assert engines.run(runtime, generations)[0] == engines.run(roomy, generations)[0]
        with pytest.raises(RequestRefusedError, match="too long"):
            runtime.add(Generation("too long", (1,) * 200, 1))
    finally:
        runtime.close()
        roomy.close()
