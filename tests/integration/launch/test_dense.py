"""The dense runtime gives what the paged one gives, and is chosen by the graph itself."""

from __future__ import annotations

import pytest

from stoker.kinds.openvino.runtime.choice import open_runtime
from stoker.kinds.openvino.runtime.dense import DenseRuntime
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation, RequestRefusedError

GENERATIONS = (
    Generation("short", (1, 2, 3), 12, log_probs=True),
    Generation("long", tuple(index % 200 for index in range(150)), 20, log_probs=True),
    Generation("repeated", (7,), 30, repetition_penalty=1.3, log_probs=True),
    Generation("present", (7, 8), 30, presence_penalty=1.5, frequency_penalty=0.5, log_probs=True),
    Generation("ended", (9,), 30, end_ids=(24, 84), min_tokens=3, log_probs=True),
)


def run_all(runtime, generations) -> list[tuple[list[int], list[float]]]:
    sequences = [runtime.add(each) for each in generations]
    results: list[tuple[list[int], list[float]]] = [([], []) for _ in generations]
    live = set(range(len(generations)))
    while live:
        runtime.step()
        for index in tuple(live):
            output = sequences[index].read()
            results[index][0].extend(output.ids)
            results[index][1].extend(output.log_probs)
            if output.ended:
                live.discard(index)
    return results


def test_the_graph_chooses_its_runtime(settings_of, tiny_engine, dense_engine):
    for engine, kind in ((tiny_engine, PagedRuntime), (dense_engine, DenseRuntime)):
        runtime = open_runtime(settings_of(engine))
        assert type(runtime) is kind
        runtime.close()


def test_dense_and_paged_agree_in_a_mixed_batch(settings_of, tiny_engine, dense_engine):
    paged, dense = PagedRuntime(settings_of(tiny_engine)), DenseRuntime(settings_of(dense_engine))
    for (ids, log_probs), (other_ids, other_probs) in zip(
        run_all(paged, GENERATIONS), run_all(dense, GENERATIONS), strict=True
    ):
        assert ids == other_ids
        assert log_probs == pytest.approx(other_probs, abs=1e-3)
    paged.close()
    dense.close()


def test_a_state_used_again_starts_empty(settings_of, dense_engine):
    runtime = DenseRuntime(settings_of(dense_engine))
    first = run_all(runtime, GENERATIONS[:2])
    assert run_all(runtime, GENERATIONS[1::-1]) == first[::-1]
    runtime.close()


def test_cancelling_frees_the_state_for_others(settings_of, dense_engine):
    runtime = DenseRuntime(settings_of(dense_engine, kv_blocks=2))
    left = runtime.add(Generation("left", [1] * 40, 100))
    runtime.step()
    left.cancel()
    other = runtime.add(Generation("other", [2] * 40, 4))
    runtime.step()
    assert not other.read().out_of_memory
    runtime.close()


def test_the_youngest_wait_while_the_cache_is_full_and_lose_nothing(settings_of, dense_engine):
    generations = [Generation(str(first), [first] * 25, 20) for first in range(4)]
    wide, narrow = (DenseRuntime(settings_of(dense_engine, kv_blocks=blocks)) for blocks in (128, 2))
    assert run_all(narrow, generations) == run_all(wide, generations)
    wide.close()
    narrow.close()


def test_what_outgrows_the_cache_alone_is_given_up_with_what_it_has(settings_of, dense_engine):
    runtime = DenseRuntime(settings_of(dense_engine, kv_blocks=2))
    sequence = runtime.add(Generation("big", [1] * 60, 100))
    produced, output = 0, sequence.read()
    while not output.ended:
        runtime.step()
        output = sequence.read()
        produced += len(output.ids)
    assert output.out_of_memory
    assert produced == 5
    runtime.close()


def test_a_prompt_that_cannot_fit_is_refused(settings_of, dense_engine):
    runtime = DenseRuntime(settings_of(dense_engine, kv_blocks=2))
    with pytest.raises(RequestRefusedError, match="too long"):
        runtime.add(Generation("big", [1] * 64, 1))
    runtime.close()


def test_the_dense_runtime_serves_in_triton(loop, settings_of, dense_engine, tiny_engine, harness):
    from stoker.kinds.openvino.runtime.engine import python_engine
    from stoker.launch.supervisor import Supervisor

    supervisor = Supervisor(python_engine(settings_of(dense_engine, max_batch_size=2)))
    try:
        loop.run(supervisor.start())
        served = loop.run(harness.tokens(supervisor.client, GENERATIONS[0]))
    finally:
        loop.run(supervisor.stop())
    paged = PagedRuntime(settings_of(tiny_engine))
    assert served == run_all(paged, GENERATIONS[:1])[0][0]
    paged.close()
