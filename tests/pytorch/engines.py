"""Checkpoints and runtimes for the tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_weights import write_model
from tests.engine_settings import engine_settings

from stoker.kinds.torch.runtime.engine import RUNTIME
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Runtime
from stoker.resolve.adapter_matrices import Pair
from stoker.resolve.local import DEMO_DIRECTORY

REFERENCE = Path(__file__).parents[1] / "integration" / "goldens" / "reference"


def golden_names() -> list[str]:
    return sorted(path.stem for path in REFERENCE.glob("*.npz"))


def golden(name: str, directory: Path) -> tuple[list[list[int]], list[list[int]], int]:
    """Writes the checkpoint; returns prompts, the reference's continuations, and the longest sequence to be served."""
    with np.load(REFERENCE / f"{name}.npz") as file:
        facts = json.loads(str(file["facts"]))
        write_model(directory, facts["config"], facts["shapes"], facts["embedding_gain"])
        count = facts["prompts"]
        return (
            [file[f"prompt_{index}"].tolist() for index in range(count)],
            [file[f"tokens_{index}"].tolist() for index in range(count)],
            int(facts["max_seq_len"] or 512),
        )


def settings(directory: Path, **changes: Any) -> EngineSettings:
    return engine_settings(RUNTIME, directory, **{"threads": 2, **changes})


def run(runtime: Runtime, generations: Sequence[Generation]) -> tuple[list[list[int]], list[list[float]]]:
    """All at once to their ends: ids and log probabilities."""
    sequences = dict(enumerate(map(runtime.add, generations)))
    ids: list[list[int]] = [[] for _ in generations]
    log_probs: list[list[float]] = [[] for _ in generations]
    while sequences:
        runtime.step()
        for index, sequence in tuple(sequences.items()):
            output = sequence.read()
            ids[index] += output.ids
            log_probs[index] += output.log_probs
            if output.ended:
                del sequences[index]
    return ids, log_probs


def tiny(kind: str, directory: Path) -> Path:
    """A random checkpoint of a model type, as transformers saves it, and the demo's tokenizer beside it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {"vocab_size": 2048, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 4, "intermediate_size": 128, "max_position_embeddings": 512}
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape))
    model.save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(DEMO_DIRECTORY / name, directory / name)
    return directory


def reference(directory: Path, prompt: Sequence[int], count: int) -> list[int]:
    """What transformers' own `generate` makes of it, greedily."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    options = {"max_new_tokens": count, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return list(model.generate(torch.tensor([list(prompt)]), **options)[0, len(prompt) :].tolist())


def merged_log_probs(
    directory: Path, matrices: Mapping[str, Pair], texts: Sequence[tuple[list[int], list[int]]]
) -> list[float]:
    """Of the answers' tokens, for pairs of prompt and answer: by transformers in f32, with an adapter merged."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    found: list[float] = []
    with torch.no_grad():
        for name, (inner, outer) in matrices.items():
            model.get_submodule(name).weight += torch.from_numpy(outer @ inner)
        for prompt, answer in texts:
            logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            found += logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None]).squeeze(-1).tolist()
    return found


def text_of(directory: Path, prompt: Sequence[int], ids: Sequence[int]) -> str:
    """How the ids read after the prompt."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    before = tokenizer.decode(list(prompt))
    return str(tokenizer.decode([*prompt, *ids]))[len(before) :]
