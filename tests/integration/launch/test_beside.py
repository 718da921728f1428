"""Requests for which the graph is run beside GenAI: scores of prompts, biases, the likeliest tokens."""

from __future__ import annotations

import time
from array import array

import numpy as np
import openvino
import pytest

from stoker.kinds.openvino.runtime import beside
from stoker.kinds.openvino.runtime.dense import DenseRuntime
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output

VOCABULARY = 256
PROMPT = tuple(index * 7 % 200 for index in range(150))
SCORED = Generation("scored", PROMPT, 4, log_probs=True, top_log_probs=3, prompt_log_probs=2)


@pytest.fixture(scope="module")
def runtime(settings_of, tiny_engine):
    opened = PagedRuntime(settings_of(tiny_engine))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def logits(tiny_engine):
    """[tokens, vocabulary] of PROMPT, by one inference."""
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    request = openvino.Core().compile_model(tiny_engine / "openvino_model.xml", "CPU", exact).create_infer_request()
    count = len(PROMPT)
    inputs = {"input_ids": [PROMPT], "attention_mask": np.ones((1, count), int), "position_ids": [range(count)]}
    arrays = {name: np.asarray(value, np.int64) for name, value in inputs.items()}
    return request.infer({**arrays, "beam_idx": np.zeros(1, np.int32)})["logits"][0].copy()


def run(runtime, *generations):
    """What each gave: its outputs, without those that said nothing."""
    sequences = [runtime.add(each) for each in generations]
    gained: list[list[Output]] = [[] for _ in generations]
    until = time.monotonic() + 60
    live = set(range(len(generations)))
    while live and time.monotonic() < until:
        runtime.step()
        for index in tuple(live):
            output = sequences[index].read()
            gained[index].append(output)
            if output.over:
                live.discard(index)
    assert not live
    return gained


def ids_of(outputs):
    return [id_ for output in outputs for id_ in output.ids]


def scores_of(outputs):
    [scores] = [output.prompt for output in outputs if output.prompt is not None]
    return scores


def log_softmax(rows):
    shifted = rows - rows.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_a_prompt_is_scored_in_pieces_as_in_one(runtime, logits):
    [outputs] = run(runtime, SCORED)
    scores, truth = scores_of(outputs), log_softmax(logits)
    assert (len(scores), scores.width) == (len(PROMPT) - 1, 3)
    for place, own in enumerate(PROMPT[1:]):
        assert scores.own(place) == pytest.approx(truth[place, own], abs=1e-3)
        assert scores.ranks[place] == 1 + (logits[place] > logits[place, own]).sum()
        best = np.argsort(-truth[place])[:2]
        assert [id_ for id_, _ in scores.top(place, 2)] == list(best)
        assert [value for _, value in scores.top(place, 2)] == pytest.approx(list(truth[place, best]), abs=1e-3)


def test_what_follows_is_what_the_pages_give(runtime):
    """With the likeliest tokens in each place, of which greedy takes the first."""
    plain = Generation("plain", PROMPT, 4, log_probs=True)
    beside_it, paged, one = run(runtime, SCORED, plain, Generation("one", PROMPT, 4, log_probs=True, top_log_probs=1))
    assert ids_of(beside_it) == ids_of(paged) == ids_of(one)
    for outputs, count in ((beside_it, 3), (one, 1)):
        tops = [top for output in outputs for top in output.top]
        values = [value for output in outputs for value in output.log_probs]
        assert [top[0] for top in tops] == list(zip(ids_of(outputs), values, strict=True))
        assert {len(top) for top in tops} == {count}


def test_a_prompt_may_be_scored_and_nothing_generated(runtime):
    alone, single = run(
        runtime, Generation("none", PROMPT, 0, prompt_log_probs=0), Generation("one", PROMPT[:1], 0, prompt_log_probs=1)
    )
    assert ids_of(alone) == ids_of(single) == []
    assert (len(scores_of(alone)), scores_of(alone).width, len(scores_of(single))) == (len(PROMPT) - 1, 1, 0)


def test_a_bias_is_added_to_the_logits(runtime):
    forced, forbidden = (array("f", bytes(4 * VOCABULARY)) for _ in range(2))
    plain = ids_of(run(runtime, Generation("plain", PROMPT, 5))[0])
    forced[123], forbidden[plain[0]] = 1000.0, -1000.0
    made = run(
        runtime,
        Generation("forced", PROMPT, 5, embedding_bias=forced),
        Generation("forbidden", PROMPT, 5, embedding_bias=forbidden),
    )
    assert ids_of(made[0]) == [123] * 5
    assert plain[0] not in ids_of(made[1])


def test_more_sequences_than_states_take_turns(runtime):
    many = [Generation(str(first), [first, *PROMPT[:60]], 6, log_probs=True, top_log_probs=2) for first in range(9)]
    alone = [ids_of(run(runtime, each)[0]) for each in many[:2]]
    assert [ids_of(each) for each in run(runtime, *many)][:2] == alone


def test_others_go_on_meanwhile(runtime):
    """A long prompt is read in pieces, between which everybody else has a token."""
    scored = runtime.add(Generation("long", PROMPT, 0, prompt_log_probs=0))
    other = runtime.add(Generation("other", (1, 2, 3), 40))
    count, pieces = 0, len(PROMPT) // 64
    while not (output := scored.read()).over:
        runtime.step()
        count += len(other.read().ids)
    assert output.prompt is not None
    assert count >= pieces
    other.cancel()
    runtime.step()


def test_cancelled_it_leaves_its_place_to_others(runtime):
    left = [runtime.add(Generation(str(index), PROMPT, 90, log_probs=True, top_log_probs=2)) for index in range(6)]
    runtime.step()
    for each in left:
        each.cancel()
    assert len(scores_of(run(runtime, SCORED)[0])) == len(PROMPT) - 1


def test_without_memory_it_is_refused_and_everything_else_goes_on(settings_of, tiny_engine):
    settings = settings_of(tiny_engine)
    poor = beside.Beside(settings, room=lambda: 1000)
    with pytest.raises(RequestRefusedError, match="no memory"):
        poor.add(SCORED)
    poor.close()
    assert beside.needed_bytes(settings) > (tiny_engine / "openvino_model.bin").stat().st_size


def test_what_was_not_needed_for_long_is_given_up(settings_of, tiny_engine, monkeypatch):
    opened = PagedRuntime(settings_of(tiny_engine))
    run(opened, SCORED)
    assert opened._beside.loaded
    monkeypatch.setattr(beside, "KEPT_SECONDS", 0.0)
    run(opened, Generation("plain", PROMPT, 2))
    assert not opened._beside.loaded
    monkeypatch.undo()
    assert len(scores_of(run(opened, SCORED)[0])) == len(PROMPT) - 1
    opened.close()


def test_a_dense_engine_does_it_by_itself(settings_of, dense_engine, runtime):
    dense = DenseRuntime(settings_of(dense_engine))
    (own,), (paged,) = run(dense, SCORED), run(runtime, SCORED)
    assert ids_of(own) == ids_of(paged)
    assert list(scores_of(own).log_probs) == pytest.approx(list(scores_of(paged).log_probs), abs=1e-4)
    dense.close()
