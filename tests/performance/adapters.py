"""What LoRA adapters cost on OpenVINO: `python tests/performance/adapters.py [LAYERS]`, on layers of a 0.5B shape.

Engines without places for adapters, with places and none loaded, with one, and with eight of rank 16 on every
projection take turns; shown are the others' tokens/s over the first's, as medians of the rounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "integration" / "goldens")]

from adapter_rates import CASES, RANK, adapter, ratios  # noqa: E402
from random_models import QWEN2_5_0_5B, write_model  # noqa: E402
from tests.engine_settings import engine_settings  # noqa: E402

from stoker.kinds.openvino.build.builder import build_graph  # noqa: E402
from stoker.kinds.openvino.build.checkpoint import open_checkpoint  # noqa: E402
from stoker.kinds.openvino.build.int8 import Int8  # noqa: E402
from stoker.kinds.openvino.build.save import save_graph, write_targets  # noqa: E402
from stoker.kinds.openvino.runtime.paged import PagedRuntime  # noqa: E402

ROUNDS, THREADS = 5, 2


def engine(folder: Path, config: dict[str, Any], *, adapters: bool) -> Path:
    folder.mkdir()
    graph = build_graph(config, open_checkpoint(folder.parent / "model"), Int8(THREADS), 1024, adapters=adapters)
    save_graph(graph, folder)
    if adapters:
        write_targets(graph, folder)
    return folder


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
        table = ratios(runtimes, adapters, ROUNDS)
        print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
