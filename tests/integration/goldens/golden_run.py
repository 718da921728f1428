"""Runs golden cases through our engine: the stateful graph step by step, and OpenVINO GenAI's paged pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino_genai as genai
from golden_weights import write_model

from stoker.kinds.openvino.build.builder import build_graph
from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.kinds.openvino.build.plain import PlainEncoding
from stoker.kinds.openvino.build.rows import SAMPLED

REFERENCE = Path(__file__).parent / "reference"
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prompt:
    """`prefill` are the logits at positions `prefill_at` of the prompt, `decode` those that gave the tokens at
    positions `decode_at` of the continuation."""

    tokens: Array
    continuation: Array
    prefill_at: Array
    prefill: Array
    decode_at: Array
    decode: Array


@dataclass(frozen=True)
class Golden:
    name: str
    facts: dict[str, Any]
    prompts: tuple[Prompt, ...]

    @property
    def inputs(self) -> list[list[int]]:
        return [prompt.tokens.tolist() for prompt in self.prompts]

    @property
    def continuations(self) -> list[list[int]]:
        return [prompt.continuation.tolist() for prompt in self.prompts]


def names() -> list[str]:
    return sorted(path.stem for path in REFERENCE.glob("*.npz"))


def load(name: str) -> Golden:
    with np.load(REFERENCE / f"{name}.npz") as file:
        facts = json.loads(str(file["facts"]))
        keys = ("prompt", "tokens", "prefill_at", "prefill", "decode_at", "decode")
        prompts = tuple(Prompt(*(file[f"{key}_{i}"] for key in keys)) for i in range(facts["prompts"]))
    return Golden(name, facts, prompts)


def build(golden: Golden, directory: Path, precision: str = "f32", *, few_rows: bool = False) -> ov.Model:
    write_model(directory, golden.facts["config"], golden.facts["shapes"], golden.facts["embedding_gain"])
    checkpoint = open_checkpoint(directory)
    config, encoding, length = golden.facts["config"], PlainEncoding(precision), golden.facts["max_seq_len"]
    return build_graph(config, checkpoint, encoding, length, few_rows=few_rows)


def is_dense(model: ov.Model) -> bool:
    return bool(model.get_rt_info(["stoker", "attention"]).value == "dense")


def is_filled(model: ov.Model) -> bool:
    """Whether it was built for few rows."""
    return any(SAMPLED in given.get_names() for given in model.inputs)


class Stateful:
    """One sequence at a time through the stateful graph."""

    def __init__(self, model: ov.Model) -> None:
        self._model = model  # the compiled model shares its constants
        self._request = ov.Core().compile_model(model, "CPU", EXACT).create_infer_request()

    def prefill(self, tokens: Sequence[int]) -> Array:
        self._request.reset_state()
        self._past = 0
        return self.step(tokens)

    def step(self, tokens: Sequence[int]) -> Array:
        """Logits of the new tokens, [tokens, vocabulary]."""
        ids = np.array([tokens], np.int64)
        total = self._past + ids.shape[1]
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(self._past, total)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        self._past = total
        return np.array(self._request.infer(inputs)["logits"][0])

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        logits = self.prefill(prompt)
        tokens = [int(logits[-1].argmax())]
        while len(tokens) < count:
            tokens.append(int(self.step(tokens[-1:])[-1].argmax()))
        return tokens


def logits_errors(engine: Stateful, prompt: Prompt) -> tuple[float, float]:
    """The largest error relative to the largest logit, in prefill and in decode fed with the reference's tokens."""
    whole = engine.prefill(prompt.tokens.tolist())
    decode = [whole[-1]]
    decode += [engine.step([int(token)])[-1] for token in prompt.continuation[:-1]]
    return relative(whole[prompt.prefill_at], prompt.prefill), relative(
        np.array(decode)[prompt.decode_at], prompt.decode
    )


def relative(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class Paged:
    """The pipeline that serves: paged attention, several sequences in a step."""

    def __init__(self, model: ov.Model, directory: Path, **scheduler: Any) -> None:
        ov.save_model(model, directory / "openvino_model.xml", compress_to_fp16=False)
        settings = genai.SchedulerConfig()
        settings.num_kv_blocks = 64
        settings.enable_prefix_caching = False
        for name, value in scheduler.items():
            setattr(settings, name, value)
        self._pipeline = genai.ContinuousBatchingPipeline(str(directory), settings, "CPU", EXACT)

    def greedy(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
        config = genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, do_sample=False)
        inputs = [ov.Tensor(np.array([prompt], np.int64)) for prompt in prompts]
        results = self._pipeline.generate(inputs, [config] * len(prompts))
        return [list(result.m_generation_ids[0]) for result in results]
