"""How long OpenVINO takes to compile an engine's graph, and to import it compiled, with and without paged attention.

    python -m tests.performance.cached_graph [--precision int8]

Processor seconds, each the least of three. With paged attention the import fails: what docs/performance.md reports
under "Where a warm start goes".
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import openvino
from openvino._offline_transformations import paged_attention_transformation
from processes import WORK
from random_models import write_model
from tests.performance.__main__ import engine_settings

from stoker.kinds.openvino.files import GRAPH
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.launch.settings import EngineSettings

_LEAST_OF = 3
_WEIGHTLESS = {"CACHE_MODE": "OPTIMIZE_SIZE"}  # the weights stay in the graph's own file


def seconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(_LEAST_OF):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def measure(graph: Path, properties: dict[str, object], *, paged: bool) -> str:
    core = openvino.Core()
    model = core.read_model(graph)
    if paged:
        paged_attention_transformation(model)
    properties = {**properties, **_WEIGHTLESS}
    compiling = seconds(lambda: core.compile_model(model, "CPU", properties))
    exported = core.compile_model(model, "CPU", properties).export_model()
    content = exported if isinstance(exported, bytes) else exported.getvalue()
    weights = {"WEIGHTS_PATH": str(graph.with_suffix(".bin"))}
    try:
        imported = seconds(lambda: core.import_model(io.BytesIO(content), "CPU", {**properties, **weights}))
    except RuntimeError as error:
        return f"compiled in {compiling:.2f} s, not imported: {' '.join(str(error).split())[-160:]}"
    return f"compiled in {compiling:.2f} s, imported in {imported:.2f} s from {len(content) / 1e6:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="int8")
    options = parser.parse_args()
    model = write_model(WORK / "qwen2.5-0.5b-shape")
    settings = EngineSettings.read(engine_settings(model, WORK / "cache", options.precision))
    graph = Path(settings.engine_directory) / GRAPH
    for name, paged in (("as built", False), ("with paged attention", True)):
        print(f"{name}: {measure(graph, compile_properties(settings), paged=paged)}", flush=True)


if __name__ == "__main__":
    main()
