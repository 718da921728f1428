"""Runs tasks of lm-eval twice, through a server and through transformers, and prints each document's answers.

    python lm_eval_scores.py URL MODEL_DIRECTORY TASKS_DIRECTORY TASK...

Run by an interpreter that has lm-eval, PyTorch and transformers.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import lm_eval
import torch
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM


class Reference(LocalCompletionsAPI):
    """The same tokens and windows; what the server would say comes from transformers."""

    def __init__(self, directory: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._reference = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        return [self._score(context, continuation) for _, context, continuation in requests]

    def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        ids = torch.tensor([[*context, *continuation]])
        with torch.inference_mode():
            logits = self._reference(ids[:, :-1]).logits[0, len(context) - 1 :]
        told = logits.log_softmax(-1)
        own = torch.tensor(continuation)
        return float(told.gather(1, own[:, None]).sum()), bool((logits.argmax(-1) == own).all())


def main(url: str, directory: str, folder: str, *tasks: str) -> None:
    arguments = {
        "model": "demo",
        "base_url": f"{url}/v1/completions",
        "tokenizer": directory,
        "tokenizer_backend": "huggingface",
        "max_length": 64,  # so that texts are read in several windows
        "num_concurrent": 2,
        "batch_size": 3,
        "add_bos_token": True,
    }
    told = {
        name: _answers(model, folder, tasks)
        for name, model in (
            ("server", LocalCompletionsAPI(**arguments)),
            ("transformers", Reference(directory, **arguments)),
        )
    }
    print(json.dumps(told))


def _answers(model: Any, folder: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    manager = TaskManager(include_path=folder, include_defaults=False)
    done = lm_eval.simple_evaluate(model, tasks=list(tasks), task_manager=manager, bootstrap_iters=0)
    assert done is not None
    return {
        task: [each["filtered_resps"] for each in sorted(done["samples"][task], key=lambda each: int(each["doc_id"]))]
        for task in tasks
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
