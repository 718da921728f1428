"""What runs beside the pages gives the log probabilities and the tokens of the references, for graphs of all sorts."""

from __future__ import annotations

from pathlib import Path

import golden_run
import numpy as np
import pytest
from test_adapters import engine as adaptable_engine
from tests.engine_settings import engine_settings

from stoker.kinds.openvino.build.save import save_graph
from stoker.kinds.openvino.runtime.choice import open_runtime
from stoker.launch.generation import Generation
from stoker.launch.stub.runtime import Output
from stoker.launch.stub.sampler import log_softmax

CASES = [
    *((name, {}) for name in ("mistral_window", "gemma3", "gemma2", "mixtral")),
    *((name, {"few_rows": True}) for name in ("llama_gqa_tied", "mistral_window")),
    ("llama_gqa_tied", {"few_rows": True, "adapters": True}),
]


def engine(golden: golden_run.Golden, directory: Path, *, few_rows: bool = False, adapters: bool = False) -> Path:
    if adapters:
        return adaptable_engine(golden.name, directory, few_rows=few_rows)
    save_graph(golden_run.build(golden, directory, few_rows=few_rows), directory)
    return directory


@pytest.mark.parametrize(("name", "ways"), CASES)
def test_scores_and_tokens_are_the_references(name: str, ways: dict[str, bool], tmp_path: Path) -> None:
    golden = golden_run.load(name)
    runtime = open_runtime(engine_settings("", engine(golden, tmp_path, **ways), max_num_tokens=32, kv_blocks=256))
    try:
        for prompt in golden.prompts:
            asked = Generation("r", prompt.tokens.tolist(), 16, log_probs=True, top_log_probs=2, prompt_log_probs=1)
            sequence = runtime.add(asked)
            outputs: list[Output] = []
            while not (outputs and outputs[-1].over):
                runtime.step()
                outputs.append(sequence.read())
            assert [id_ for output in outputs for id_ in output.ids] == prompt.continuation[:16].tolist()
            (scores,) = (output.prompt for output in outputs if output.prompt is not None)
            tolerance = 2e-3 * np.abs(prompt.prefill).max()
            for place, logits in zip(prompt.prefill_at, prompt.prefill, strict=True):
                if place < len(scores):
                    truth = log_softmax(logits)
                    assert scores.own(place) == pytest.approx(truth[prompt.tokens[place + 1]], abs=tolerance)
                    assert scores.top(place, 1)[0][1] == pytest.approx(truth.max(), abs=tolerance)
    finally:
        runtime.close()
