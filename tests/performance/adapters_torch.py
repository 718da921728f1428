"""What LoRA adapters cost on PyTorch: `.venv-torch/bin/python tests/performance/adapters_torch.py [LAYERS]`, on layers
of a 0.5B shape.

An engine without adapters, one with places and none asked for, with one, and with eight of rank 16 on every projection
take turns; shown are the others' tokens/s over the first's, as medians of the rounds. Eight among 16 streams
are eight turns of two.
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

from stoker.kinds.torch.runtime.choice import open_runtime  # noqa: E402

ROUNDS, THREADS = 7, 2


def main(layers: int) -> None:
    config = {**QWEN2_5_0_5B, "num_hidden_layers": layers, "vocab_size": 2048}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", config)
        adapters = [adapter(folder / f"adapter{n}", config, n + 1) for n in range(8)]
        limits: dict[str, Any] = {"max_batch_size": 16, "kv_blocks": 256, "threads": THREADS, "max_num_tokens": 256}
        with_places = {**limits, "max_loras": 8, "max_lora_rank": RANK}
        runtimes = {
            case: open_runtime(engine_settings("", folder / "model", **(limits if count is None else with_places)))
            for case, count in CASES.items()
        }
        table = ratios(runtimes, adapters, ROUNDS)
        print(json.dumps(table, indent=1))
        for runtime in runtimes.values():
            runtime.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
