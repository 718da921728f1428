"""Runs the golden cases of vectors and scores through our graph and the runtime that serves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from golden_weights import write_model
from tests.engine_settings import engine_settings

from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.kinds.openvino.build.encoder import build_pooled
from stoker.kinds.openvino.build.encoding import Encoding
from stoker.kinds.openvino.build.int8 import Int8
from stoker.kinds.openvino.build.plain import PlainEncoding
from stoker.kinds.openvino.build.save import save_graph
from stoker.kinds.openvino.runtime.encoder import EncoderRuntime
from stoker.kinds.openvino.runtime.engine import ENCODER
from stoker.launch.generation import Generation
from stoker.resolve.model import Pooling

REFERENCE = Path(__file__).parent / "pooled"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Text:
    ids: list[int]
    types: list[int]
    vector: Array


@dataclass(frozen=True)
class PooledGolden:
    name: str
    facts: dict[str, Any]
    texts: tuple[Text, ...]


def names() -> list[str]:
    return sorted(path.stem for path in REFERENCE.glob("*.npz"))


def load(name: str) -> PooledGolden:
    with np.load(REFERENCE / f"{name}.npz") as file:
        facts = json.loads(str(file["facts"]))
        parts = [[file[f"{key}_{index}"] for key in ("ids", "types", "vector")] for index in range(facts["texts"])]
    return PooledGolden(name, facts, tuple(Text(ids.tolist(), types.tolist(), made) for ids, types, made in parts))


def runtime(golden: PooledGolden, directory: Path, precision: str = "f32", tokens: int = 512) -> EncoderRuntime:
    """At most so many tokens, padding included, in an inference."""
    facts = golden.facts
    write_model(directory, facts["config"], facts["shapes"], facts["embedding_gain"])
    encoding: Encoding = Int8(1) if precision == "int8" else PlainEncoding(precision)
    pooling = Pooling(facts["method"], facts["normalized"], 126)
    save_graph(build_pooled(facts["config"], open_checkpoint(directory), encoding, pooling), directory)
    return EncoderRuntime(
        engine_settings(ENCODER, directory, kv_blocks=0, max_num_tokens=tokens, max_seq_len=126, kv_precision="none")
    )


def encoded(engine: EncoderRuntime, texts: tuple[Text, ...]) -> tuple[list[Array], int]:
    """The vectors of texts that came at once, and the inferences that it took."""
    sequences = [engine.add(Generation("golden", text.ids, 1, token_types=text.types)) for text in texts]
    steps = 0
    while not all(sequence.read().ended for sequence in sequences):
        assert engine.step()
        steps += 1
    return [np.asarray(sequence.read().embedding) for sequence in sequences], steps


def cosine(first: Array, second: Array) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
