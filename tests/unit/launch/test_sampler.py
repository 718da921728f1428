from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.stub.sampler import Sampler, truncated

LOGITS = np.array([0.0, 3.0, 1.0, 2.0, -1.0], np.float32)


def sampler(**options) -> Sampler:
    return Sampler(Generation("r", options.pop("input_ids", (4,)), max_tokens=10, **options))


def draws(count: int, **options) -> list[int]:
    each = sampler(**options)
    return [each.draw(LOGITS)[0] for _ in range(count)]


def test_greedy_takes_the_largest():
    assert draws(3) == [1, 1, 1]


def test_greedy_log_probability_is_that_of_the_softmax():
    token, log_prob = sampler(log_probs=True).draw(LOGITS)
    assert token == 1
    assert log_prob == pytest.approx(3.0 - np.log(np.exp(LOGITS).sum()))


def test_the_log_probability_is_the_models_own_whatever_changes_the_choice():
    token, log_prob = sampler(log_probs=True, presence_penalty=2.0, temperature=4.0, top_k=1).draw(LOGITS)
    assert log_prob == pytest.approx(LOGITS[token] - np.log(np.exp(LOGITS).sum()))


def test_drawing_leaves_the_logits_alone():
    logits = LOGITS.copy()
    sampler(repetition_penalty=2.0, presence_penalty=1.0, min_tokens=3, end_ids=(1,)).draw(logits)
    assert (logits == LOGITS).all()


def test_a_seed_repeats_the_draws():
    assert draws(50, temperature=1.5, seed=3) == draws(50, temperature=1.5, seed=3)
    assert draws(50, temperature=1.5, seed=3) != draws(50, temperature=1.5, seed=4)


def test_draws_follow_the_distribution():
    counts = np.bincount(draws(20_000, temperature=2.0, seed=1), minlength=5)
    expected = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum()
    assert counts / 20_000 == pytest.approx(expected, abs=0.02)


def test_top_k_one_is_greedy_whatever_the_temperature():
    assert set(draws(50, temperature=5.0, top_k=1, seed=1)) == {1}


def test_presence_and_frequency_penalties_look_at_what_was_generated_only():
    assert draws(3, input_ids=(1, 1), presence_penalty=1.5) == [1, 3, 1]  # 3.0, then 1.5 below 2.0, then 3 has 0.5
    assert draws(4, frequency_penalty=0.6) == [1, 1, 3, 1]  # 3.0, 2.4, 1.8 below 2.0, then 3 has 1.4


def test_repetition_penalty_looks_at_the_prompt_too():
    assert draws(1, input_ids=(1,), repetition_penalty=2.0) == [3]
    negative = np.array([-1.0, -3.0], np.float32)
    assert sampler(input_ids=(0,), repetition_penalty=4.0).draw(negative)[0] == 1


def test_min_tokens_bars_the_ends_until_then():
    assert draws(3, end_ids=(1, 3), min_tokens=2) == [2, 2, 1]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"top_k": 0}, "top_k"),
        ({"presence_penalty": 3.0}, "presence_penalty"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_values_out_of_range_are_refused_by_name(options, name):
    with pytest.raises(RequestRefusedError, match=name):
        sampler(**options)


PROBABILITIES = np.array([0.4, 0.3, 0.2, 0.06, 0.04], np.float32)


@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p", "kept"),
    [
        (None, None, None, 5),
        (2, None, None, 2),
        (9, None, None, 5),
        (None, 0.5, None, 2),
        (None, 0.4, None, 1),
        (None, 0.0, None, 1),
        (None, 1.0, None, 5),
        (None, None, 0.5, 3),
        (None, None, 1.0, 1),
        (3, 0.7, None, 2),
        (4, 0.99, 0.6, 2),
    ],
)
def test_truncation_keeps_the_most_probable(top_k, top_p, min_p, kept):
    left = truncated(PROBABILITIES, top_k, top_p, min_p)
    assert (left > 0).sum() == kept
    assert (left[:kept] == PROBABILITIES[:kept]).all()


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40),
    st.integers(1, 50),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_truncation_always_leaves_the_largest(logits, top_k, top_p, min_p):
    probabilities = np.exp(np.array(logits, np.float32))
    probabilities /= probabilities.sum()
    left = truncated(probabilities, top_k, top_p, min_p)
    assert left.max() == probabilities.max()
    assert ((left == 0) | (left == probabilities)).all()
    assert (left > 0).sum() <= top_k
