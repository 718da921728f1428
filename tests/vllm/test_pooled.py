"""Embedding models and rerankers through vLLM: the vectors and scores of the references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pooled_run
import pytest
from golden_weights import write_model
from tests.vllm.conftest import direct_settings, eager_engine, supervised

from stoker.kinds.vllm.arguments import pooler_arguments
from stoker.kinds.vllm.runtime.alone import HostRuntime
from stoker.launch.generation import Generation
from stoker.resolve.model import Pooling

LONGEST = 126


@pytest.mark.parametrize("name", ["bert_mean", "xlm_roberta_score"])
def test_the_vectors_of_a_batch_agree(name: str, tmp_path: Path) -> None:
    golden = pooled_run.load(name)
    facts = golden.facts
    facts["config"]["num_attention_heads"] = 2  # vLLM has no kernel for heads of 16 on a CPU
    runtime = opened(facts, tmp_path)
    try:
        sequences = [runtime.add(Generation("", text.ids, 1, token_types=text.types)) for text in golden.texts]
        found = vectors(runtime, sequences)
    finally:
        runtime.close()
    for vector, wanted in zip(found, references(golden, tmp_path), strict=True):
        np.testing.assert_allclose(np.asarray(vector), wanted, atol=1e-3, rtol=1e-3)


def test_vectors_come_through_triton(loop: Any, harness: Any, tmp_path: Path) -> None:
    golden = pooled_run.load("qwen3_last")
    directory = written(golden.facts, tmp_path)
    running = supervised(loop, directory, purpose="embedding", max_seq_len=LONGEST)
    running.start()
    try:
        client = running.supervisor.client
        texts = [Generation(str(number), text.ids, 1) for number, text in enumerate(golden.texts)]
        answers = [running.wait(harness.collect(client, text)) for text in texts]
    finally:
        running.stop()
    for (delta,), text in zip(answers, golden.texts, strict=True):
        np.testing.assert_allclose(np.asarray(delta.embedding), text.vector, atol=1e-3)


def opened(facts: dict[str, Any], folder: Path) -> HostRuntime:
    purpose = "rerank" if facts["method"] == "score" else "embedding"
    directory = written(facts, folder)
    return HostRuntime(direct_settings(directory, folder, purpose=purpose, max_seq_len=LONGEST, kv_precision="none"))


def written(facts: dict[str, Any], folder: Path) -> Path:
    """The engine's directory."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    write_model(checkpoint, facts["config"], facts["shapes"], facts["embedding_gain"])
    pooler = pooler_arguments(Pooling(facts["method"], facts["normalized"], LONGEST))
    return eager_engine(folder / "engine", checkpoint, skip_tokenizer_init=True, **pooler)


def references(golden: pooled_run.PooledGolden, folder: Path) -> list[Any]:
    """OpenVINO's, whose vectors equal those of transformers: of this many heads there are none on record."""
    (folder / "openvino").mkdir()
    return pooled_run.encoded(pooled_run.runtime(golden, folder / "openvino"), golden.texts)[0]


def vectors(runtime: HostRuntime, sequences: list[Any]) -> list[Any]:
    while True:
        runtime.step()
        outputs = [sequence.read() for sequence in sequences]
        assert [output.refused for output in outputs] == [""] * len(outputs)
        if all(output.embedding is not None for output in outputs):
            return [output.embedding for output in outputs]
