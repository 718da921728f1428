"""lm-eval's `local-completions` against a server: its numbers are those of transformers.

STOKER_LM_EVAL_PYTHON names an interpreter with `lm-eval[api]`, PyTorch and transformers; without it, this one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.served import Served

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "entrypoint" / "stoker" / "resolve" / "demo"
PYTHON = os.environ.get("STOKER_LM_EVAL_PYTHON", sys.executable)
CHOICE, TEXT = "tiny_choice", "tiny_text"
CHOICES = [
    ("The old man went down to the", ["sea.", "hill, and he was glad.", "stone"]),
    ("He saw a", ["boat there, and he was glad.", "the", "of of of"]),
    ("Once upon a", ["time", "girl", "king who had two sons"]),
]
TEXTS = [
    "The old man went down to the sea. He saw a boat there, and he was glad.",
    "Once upon a time there was a little girl. She lived in a small house near the wood. " * 5,
]
_TASK = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
"""
_CHOICE = """doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
_TEXT = """doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}]
"""


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that computes in 32 bits."""
    folder = tmp_path_factory.mktemp("exact")
    command = [str(ROOT / ".venv" / "bin" / "python"), "-m", "stoker"]
    overrides = ["--precision", "f32", "--kv-precision", "f32"]
    environment = {"PYTHONPATH": str(ROOT / "entrypoint")}
    with Served(command, "demo", overrides, folder, environment, seconds=300).running() as one:
        yield one


def write_task(folder: Path, name: str, kind: str, rows: list[dict[str, Any]], more: str) -> None:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / f"{name}.yaml").write_text(_TASK.format(name=name, data=data, kind=kind) + more)


def test_multiple_choice_and_perplexity_are_those_of_transformers(exact: Served, tmp_path: Path) -> None:
    choices = [{"question": question, "choices": each} for question, each in CHOICES]
    write_task(tmp_path, CHOICE, "multiple_choice", choices, _CHOICE)
    write_task(tmp_path, TEXT, "loglikelihood_rolling", [{"text": text} for text in TEXTS], _TEXT)
    program = Path(__file__).with_name("lm_eval_scores.py")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [PYTHON, str(program), exact.url, str(DEMO), str(tmp_path), CHOICE, TEXT],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    server, truth = told["server"], told["transformers"]
    assert [len(each) for each in server[CHOICE]] == [3] * len(CHOICES)
    pairs = [
        pair for ours, true in zip(server[CHOICE], truth[CHOICE], strict=True) for pair in zip(ours, true, strict=True)
    ]
    for (ours, greedy), (true, true_greedy) in pairs:
        assert (ours, greedy) == (pytest.approx(true, abs=1e-3), true_greedy)
    assert any(greedy for (_, greedy), _ in pairs)
    for (ours,), (true,) in zip(server[TEXT], truth[TEXT], strict=True):
        assert ours == pytest.approx(true, abs=1e-3)
        assert math.isfinite(ours)
