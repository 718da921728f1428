"""Vectors and scores against transformers, each text alone and all of them, of mixed lengths, in few inferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pooled_run
import pytest
from golden_run import relative

TOLERANCE = 1e-3


@pytest.mark.parametrize("name", pooled_run.names())
def test_vectors_agree_alone_and_in_batches_of_mixed_lengths(name: str, tmp_path: Path) -> None:
    golden = pooled_run.load(name)
    engine = pooled_run.runtime(golden, tmp_path)
    alone = [pooled_run.encoded(engine, (text,))[0][0] for text in golden.texts]
    together, steps = pooled_run.encoded(engine, golden.texts)
    assert steps < len(golden.texts)
    for text, first, second in zip(golden.texts, alone, together, strict=True):
        assert relative(first, text.vector) <= TOLERANCE
        assert relative(second, text.vector) <= TOLERANCE
        assert len(text.vector) == 1 or pooled_run.cosine(second, text.vector) > 0.9999


@pytest.mark.parametrize("name", [name for name in pooled_run.names() if "score" not in name])
@pytest.mark.parametrize(("precision", "least"), [("int8", 0.99), ("bf16", 0.999)])
def test_vectors_of_smaller_weights_point_the_same_way(name: str, precision: str, least: float, tmp_path: Path) -> None:
    golden = pooled_run.load(name)
    vectors, _ = pooled_run.encoded(pooled_run.runtime(golden, tmp_path, precision), golden.texts)
    assert min(pooled_run.cosine(got, text.vector) for got, text in zip(vectors, golden.texts, strict=True)) > least


@pytest.mark.parametrize("name", [name for name in pooled_run.names() if "score" in name])
def test_int8_scores_keep_the_order_of_what_is_far_apart(name: str, tmp_path: Path) -> None:
    golden = pooled_run.load(name)
    scores = np.array([text.vector[0] for text in golden.texts])
    found = np.array(pooled_run.encoded(pooled_run.runtime(golden, tmp_path, "int8"), golden.texts)[0])[:, 0]
    assert np.corrcoef(scores, found)[0, 1] > 0.99


def test_a_cancelled_text_takes_no_place_in_an_inference(tmp_path: Path) -> None:
    golden = pooled_run.load("bert_cls")
    engine = pooled_run.runtime(golden, tmp_path)
    gone = engine.add(pooled_run.Generation("gone", golden.texts[0].ids, 1))
    gone.cancel()
    assert not engine.step()
    assert not gone.read().ended
