"""What LoRA adapters cost on OpenVINO: `python tests/performance/adapters.py [LAYERS]`, on layers of a 0.5B shape.

Engines without places for adapters, with places and none loaded, with one, and with eight of rank 16 on every
projection take turns; shown are the others' tokens a second over the first's, as medians of the rounds.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "integration" / "goldens")]

from golden_adapters import write_adapter  # noqa: E402
from random_models import QWEN2_5_0_5B, qwen2_shapes, write_model  # noqa: E402
from tests.engine_settings import engine_settings  # noqa: E402

from stoker.kinds.openvino.build.builder import build_graph  # noqa: E402
from stoker.kinds.openvino.build.checkpoint import open_checkpoint  # noqa: E402
from stoker.kinds.openvino.build.int8 import Int8  # noqa: E402
from stoker.kinds.openvino.build.save import save_graph, write_targets  # noqa: E402
from stoker.kinds.openvino.runtime.paged import PagedRuntime  # noqa: E402
from stoker.launch.generation import Adapter, Generation  # noqa: E402

RANK, ROUNDS, TOKENS, THREADS = 16, 5, 16, 2
CASES = {"no places": None, "0 adapters": 0, "1 adapter": 1, "8 adapters": 8}


def engine(folder: Path, config: dict[str, Any], *, adapters: bool) -> Path:
    folder.mkdir()
    graph = build_graph(config, open_checkpoint(folder.parent / "model"), Int8(THREADS), 1024, adapters=adapters)
    save_graph(graph, folder)
    if adapters:
        write_targets(graph, folder)
    return folder


def adapter(folder: Path, config: dict[str, Any], number: int) -> Adapter:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in qwen2_shapes(config):
        if name.endswith("_proj.weight"):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            shapes |= {f"{module}.lora_A.weight": (RANK, shape[1]), f"{module}.lora_B.weight": (shape[0], RANK)}
    folder.mkdir()
    write_adapter(folder, {"peft_type": "LORA", "r": RANK, "lora_alpha": number}, shapes)
    return Adapter(number, str(folder))


def rate(runtime: PagedRuntime, streams: int, adapters: list[Adapter]) -> float:
    """Tokens a second of that many sequences, each with the next adapter."""
    ids = np.random.default_rng().integers(10, 2000, (streams, 16))
    own = [adapters[index % len(adapters)] if adapters else None for index in range(streams)]
    wishes = [Generation(str(n), ids[n].tolist(), TOKENS, adapter=each) for n, each in enumerate(own)]
    began = time.perf_counter()
    running = [runtime.add(wish) for wish in wishes]
    while running:
        runtime.step()
        running = [sequence for sequence in running if not sequence.read().ended]
    return streams * TOKENS / (time.perf_counter() - began)


def main(layers: int) -> None:
    config = {**QWEN2_5_0_5B, "num_hidden_layers": layers, "vocab_size": 2048}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", config)
        plain = engine(folder / "plain", config, adapters=False)
        adapted = engine(folder / "adapted", config, adapters=True)
        adapters = [adapter(folder / f"adapter{n}", config, n + 1) for n in range(8)]
        limits = {"max_batch_size": 16, "max_loras": 8, "max_lora_rank": RANK, "kv_blocks": 256, "threads": THREADS}
        limits |= {"precision": "int8", "kv_precision": "u8", "activation_precision": "bf16"}
        runtimes = {
            case: PagedRuntime(engine_settings("", plain if count is None else adapted, **limits))
            for case, count in CASES.items()
        }
        rates: dict[str, dict[int, list[float]]] = {case: {1: [], 16: []} for case in CASES}
        for turn in range(ROUNDS + 1):  # the first warms up, and loads the adapters
            for case, count in CASES.items():
                for streams in (16, 1):
                    found = rate(runtimes[case], streams, adapters[: count or 0])
                    if turn:
                        rates[case][streams].append(found)
        first = rates["no places"]
        table = {
            case: {
                str(streams): round(
                    statistics.median(a / b for a, b in zip(own[streams], first[streams], strict=True)), 3
                )
                for streams in own
            }
            for case, own in rates.items()
        }
        print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
