"""Every architecture and variant against transformers: logits within 1e-3, and every one of 64 greedy tokens."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import golden_run
import pytest
from golden_run import Golden, Paged, Stateful

ROOT = Path(__file__).parents[3]
TOLERANCE = 1e-3
UNFILLED = ("gemma2", "mixtral", "qwen3_moe", "qwen3_moe_sparse_step")
"""Those with dense attention, and those of experts."""


@pytest.mark.parametrize("name", golden_run.names())
def test_logits_agree_in_prefill_and_decode(name: str, tmp_path: Path) -> None:
    golden = golden_run.load(name)
    engine = Stateful(golden_run.build(golden, tmp_path))
    for prompt in golden.prompts:
        prefill, decode = golden_run.logits_errors(engine, prompt)
        assert prefill <= TOLERANCE
        assert decode <= TOLERANCE


@pytest.mark.parametrize("name", golden_run.names())
def test_greedy_tokens_agree_alone_and_in_a_batch(name: str, tmp_path: Path) -> None:
    golden = golden_run.load(name)
    model = golden_run.build(golden, tmp_path)
    if golden_run.is_dense(model):
        stateful = Stateful(model)
        assert [stateful.greedy(prompt, 64) for prompt in golden.inputs] == golden.continuations
    else:
        paged = Paged(model, tmp_path)
        assert [paged.greedy([prompt], 64)[0] for prompt in golden.inputs] == golden.continuations
        assert paged.greedy(golden.inputs, 64) == golden.continuations


@pytest.mark.parametrize("name", UNFILLED)
def test_rows_are_not_filled_up_for_dense_attention_and_experts(name: str, tmp_path: Path) -> None:
    assert not golden_run.is_filled(golden_run.build(golden_run.load(name), tmp_path, few_rows=True))


@pytest.mark.parametrize("name", [name for name in golden_run.names() if name not in UNFILLED])
def test_the_tokens_are_the_same_where_few_rows_are_filled_up(name: str, tmp_path: Path) -> None:
    """The prompts are read in parts, one of which wants no logits."""
    golden = golden_run.load(name)
    model = golden_run.build(golden, tmp_path, few_rows=True)
    assert golden_run.is_filled(model)
    paged = Paged(model, tmp_path, max_num_batched_tokens=32)
    assert [paged.greedy([prompt], 64)[0] for prompt in golden.inputs] == golden.continuations
    assert paged.greedy(golden.inputs, 64) == golden.continuations


def test_only_soft_capped_attention_is_dense(tmp_path: Path) -> None:
    dense = [
        name for name in golden_run.names() if golden_run.is_dense(golden_run.build(golden_run.load(name), tmp_path))
    ]
    assert dense == ["gemma2"]


@pytest.mark.parametrize("name", ["mistral_window", "gemma3", "olmo3"])
def test_a_window_holds_in_chunked_prefill_and_with_prefix_caching(name: str, tmp_path: Path) -> None:
    golden = golden_run.load(name)
    model = golden_run.build(golden, tmp_path)
    paged = Paged(model, tmp_path, max_num_batched_tokens=32, enable_prefix_caching=True)
    assert paged.greedy(golden.inputs, 64) == golden.continuations
    assert paged.greedy(golden.inputs, 64) == golden.continuations


@pytest.mark.parametrize("name", ["mistral_window", "olmo3"])
def test_the_window_is_what_makes_the_tokens(name: str, tmp_path: Path) -> None:
    golden = golden_run.load(name)
    wide = golden.facts["config"]["max_position_embeddings"]
    paged = Paged(golden_run.build(with_config(golden, sliding_window=wide), tmp_path), tmp_path)
    assert paged.greedy(golden.inputs, 64)[-1] != golden.continuations[-1]


def test_longrope_factors_follow_the_longest_sequence_to_be_served(tmp_path: Path) -> None:
    golden = golden_run.load("phi3_longrope_long")
    original = golden.facts["config"]["original_max_position_embeddings"]
    short = dataclasses.replace(golden, facts={**golden.facts, "max_seq_len": original})
    error, _ = golden_run.logits_errors(Stateful(golden_run.build(short, tmp_path)), golden.prompts[0])
    assert error > TOLERANCE


def test_the_table_of_the_documents_can_be_made() -> None:
    command = [sys.executable, str(ROOT / "tools/goldens/report.py"), "llama_mha"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    assert "| llama_mha | paged |" in printed
    assert printed.count("192 of 192") == 2


def with_config(golden: Golden, **differences: object) -> Golden:
    config = {**golden.facts["config"], **differences}
    return dataclasses.replace(golden, facts={**golden.facts, "config": config})
