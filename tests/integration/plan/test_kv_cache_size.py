"""The budget's bytes per token against what OpenVINO GenAI really allocates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
import pytest

from stoker.kinds.openvino.build.builder import build_graph
from stoker.kinds.openvino.build.encoding import Tensor
from stoker.kinds.openvino.build.plain import PlainEncoding
from stoker.kinds.openvino.plan.compute import CACHE_TYPES
from stoker.kinds.openvino.plan.memory import KV_BLOCK_TOKENS, kv_bytes_per_token
from stoker.resolve.facts import architecture_facts

BLOCKS = 8
LAYERS = 2
VOCABULARY = 64


class RandomCheckpoint:
    """Tensors by shape alone."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        random = np.random.default_rng(0)
        self.tensors = {
            name: Tensor(name, "F32", shape, random.standard_normal(shape, np.float32) * 0.05)
            for name, shape in shapes.items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def names(self) -> Sequence[str]:
        return tuple(self.tensors)


def config_of(kv_heads: int, head_size: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2 * kv_heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_size,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, head = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    layer = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (hidden, hidden),
        "mlp.up_proj": (hidden, hidden),
        "mlp.down_proj": (hidden, hidden),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    layers = {f"model.layers.{i}.{name}.weight": shape for i in range(LAYERS) for name, shape in layer.items()}
    return {"model.embed_tokens.weight": (VOCABULARY, hidden), "model.norm.weight": (hidden,), **layers}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    built: dict[tuple[int, int], Path] = {}

    def build(kv_heads: int, head_size: int) -> Path:
        if (kv_heads, head_size) not in built:
            config = config_of(kv_heads, head_size)
            graph = build_graph(config, RandomCheckpoint(shapes_of(config)), PlainEncoding("f32"))
            directory = tmp_path_factory.mktemp("engine")
            openvino.save_model(graph, directory / "openvino_model.xml", compress_to_fp16=False)
            built[kv_heads, head_size] = directory
        return built[kv_heads, head_size]

    return build


def cache_bytes(directory: Path, kv_precision: str, activation_precision: str, **more: str) -> int:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = BLOCKS
    properties = {
        "KV_CACHE_PRECISION": kv_precision,
        "INFERENCE_PRECISION_HINT": activation_precision,
        "INFERENCE_NUM_THREADS": 1,
        **more,
    }
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(directory), scheduler, "CPU", properties)
    generation = openvino_genai.GenerationConfig()
    generation.max_new_tokens = 2
    generation.set_eos_token_id(VOCABULARY - 1)
    pipeline.add_request(0, openvino.Tensor(np.arange(3, dtype=np.int64)[None]), generation)
    pipeline.step()  # the cache is allocated when the first request is scheduled
    size = int(pipeline.get_metrics().kv_cache_size_in_bytes)
    while pipeline.has_non_finished_requests():
        pipeline.step()
    return size


@pytest.mark.parametrize(("kv_heads", "head_size"), [(1, 64), (4, 64), (2, 32), (2, 80), (2, 96), (2, 128), (1, 256)])
@pytest.mark.parametrize("kv_precision", ["u8", "f16", "f32"])
def test_the_cache_takes_the_budgeted_bytes(engine, kv_heads: int, head_size: int, kv_precision: str):
    architecture = architecture_facts(config_of(kv_heads, head_size))
    expected = kv_bytes_per_token(architecture, kv_precision) * KV_BLOCK_TOKENS * BLOCKS
    assert cache_bytes(engine(kv_heads, head_size), kv_precision, "f32") == expected


@pytest.mark.parametrize(("kv_heads", "head_size"), [(1, 64), (2, 80), (2, 128)])
def test_a_cache_by_token_takes_the_budgeted_bytes(engine, kv_heads: int, head_size: int):
    """As engines have it that guess tokens."""
    architecture = architecture_facts(config_of(kv_heads, head_size))
    expected = kv_bytes_per_token(architecture, "u8", by_token=True) * KV_BLOCK_TOKENS * BLOCKS
    assert cache_bytes(engine(kv_heads, head_size), "u8", "f32", KEY_CACHE_QUANT_MODE="BY_TOKEN") == expected


def has_bf16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(not has_bf16(), reason="the processor has no bf16")
@pytest.mark.parametrize("kv_precision", ["u8", "bf16"])
def test_the_cache_under_bf16_kernels(engine, kv_precision: str):
    architecture = architecture_facts(config_of(4, 64))
    expected = kv_bytes_per_token(architecture, kv_precision) * KV_BLOCK_TOKENS * BLOCKS
    assert cache_bytes(engine(4, 64), kv_precision, "bf16") == expected


@pytest.mark.skipif(not has_bf16(), reason="the processor has no bf16")
@pytest.mark.parametrize(("kv_precision", "activation_precision"), [("f32", "bf16"), ("bf16", "f32")])
def test_pairs_that_the_planner_refuses_do_fail(engine, kv_precision: str, activation_precision: str):
    assert kv_precision not in CACHE_TYPES[activation_precision]
    with pytest.raises(RuntimeError, match="expect kvcache type"):
        cache_bytes(engine(4, 64), kv_precision, activation_precision)
