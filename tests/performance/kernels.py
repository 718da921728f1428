"""Where a step of the CPU engine spends its time, kernel by kernel, beside what the memory can read.

    python -m tests.performance.kernels [--precision int8 int4 bf16] [--rows 1 16] [--steps 30] [--computes f32]

The engine's graph as the engine compiles it (with --computes: as it would with such kernels), without paged attention
and sampling, in this process, with OpenVINO's own counters. For each shape of matrix: how often a step multiplies by
it, the milliseconds of all of them in a step (means: the counters keep no more), the weights that they read, in MB and
GB/s, and the share of the memory's read bandwidth (bandwidth.py), measured in this run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import openvino
import table
from bandwidth import read_bandwidth
from processes import WORK
from random_models import write_model
from tests.performance.__main__ import engine_settings

from stoker.kinds.openvino.files import GRAPH
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.launch.settings import EngineSettings

PROMPT, WARM = 128, 5
_FULLY_CONNECTED = "FullyConnected"  # how the counters' types of products with constant weights begin


@dataclass(frozen=True)
class Matrix:
    """`read`: bytes of its weights with their scales."""

    shape: tuple[int, ...]
    read: int


class Graph:
    """Compiled, with a prompt of its own in each of `rows` sequences."""

    def __init__(self, settings_file: Path, rows: int, computes: str = "") -> None:
        settings = EngineSettings.read(settings_file)
        core = openvino.Core()
        model = core.read_model(Path(settings.engine_directory) / GRAPH)
        self.matrices = list(matrices(model))
        chosen = settings.chosen
        of = replace(chosen, activation_precision=computes or chosen.activation_precision)
        properties = {**compile_properties(settings, of), "PERF_COUNT": "YES"}
        self._request = core.compile_model(model, "CPU", properties).create_infer_request()
        self._rows, self._past, self._steps = rows, 0, 0
        self.step(PROMPT)

    def step(self, tokens: int) -> float:
        """Seconds."""
        rows, past = self._rows, self._past
        self._past += tokens
        self._steps += 1
        ids = np.random.default_rng(past).integers(2, 2000, (rows, tokens))
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones((rows, self._past), np.int64),
            "position_ids": np.tile(np.arange(past, self._past), (rows, 1)),
            "beam_idx": np.arange(rows, dtype=np.int32),
        }
        began = time.perf_counter()
        self._request.infer(inputs)
        return time.perf_counter() - began

    def totals(self) -> list[tuple[str, float]]:
        """The nodes' types in the order of execution, and their seconds in all steps: the counters give means."""
        steps, counters = self._steps, self._request.profiling_info
        return [(f"{each.node_type} {each.exec_type}", steps * each.real_time.total_seconds()) for each in counters]


def matrices(model: openvino.Model) -> Iterator[Matrix]:
    """What the graph multiplies by, in the order of execution."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul":
            constants = list(_constants(node.input_value(1).get_node()))
            if constants:
                largest = max(constants, key=lambda one: one.get_byte_size())
                yield Matrix(tuple(largest.get_output_shape(0)), sum(one.get_byte_size() for one in constants))


def _constants(node: openvino.Node) -> Iterator[openvino.Node]:
    """That a value is computed from, or none where it is computed from an input too."""
    waiting, found = [node], []
    while waiting:
        one = waiting.pop()
        if one.get_type_name() == "Constant":
            found.append(one)
        elif one.get_input_size() == 0 or one.get_type_name() == "ReadValue":
            return
        waiting += [each.get_node() for each in one.input_values()]
    yield from found


@dataclass(frozen=True)
class Spent:
    """Mean seconds in a step: the whole, each shape of matrix with how often and what it reads, and other nodes."""

    step: float
    products: dict[tuple[int, ...], tuple[int, int, float]]
    others: dict[str, float]


def spent(graph: Graph, steps: int) -> Spent:
    for _ in range(WARM):
        graph.step(1)
    before = graph.totals()
    whole = statistics.fmean(graph.step(1) for _ in range(steps))
    found = [(kind, (end - start) / steps) for (kind, start), (_, end) in zip(before, graph.totals(), strict=True)]
    products: list[float] = []
    others: dict[str, float] = defaultdict(float)
    for kind, seconds in found:
        if kind.startswith(_FULLY_CONNECTED):
            products.append(seconds)
        else:
            others[kind] += seconds
    return Spent(whole, by_shape(graph.matrices, products), others)


def by_shape(found: Sequence[Matrix], seconds: Sequence[float]) -> dict[tuple[int, ...], tuple[int, int, float]]:
    together: dict[tuple[int, ...], tuple[int, int, float]] = {}
    for matrix, each in zip(found, seconds, strict=True):
        times, read, before = together.get(matrix.shape, (0, 0, 0.0))
        together[matrix.shape] = times + 1, read + matrix.read, before + each
    return together


def lines(title: str, found: Spent, limit: float) -> Iterator[str]:
    """`limit`: the memory's bytes a second."""
    yield f"{title}: {found.step * 1e3:.1f} ms a step"
    for shape, (times, read, seconds) in found.products.items():
        speed = read / seconds
        name = f"{times} x {' x '.join(map(str, shape))}"
        yield f"| {name} | {seconds * 1e3:.2f} | {read / 1e6:.0f} | {speed / 1e9:.1f} | {100 * speed / limit:.0f} % |"
    for kind, seconds in sorted(found.others.items(), key=itemgetter(1), reverse=True)[:5]:
        yield f"| {kind} | {seconds * 1e3:.2f} | | | |"
    rest = found.step - sum(each for _, _, each in found.products.values()) - sum(found.others.values())
    yield f"| outside of nodes | {rest * 1e3:.2f} | | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Where a step of the CPU engine spends its time")
    parser.add_argument("--precision", nargs="+", default=["int8", "int4", "bf16"])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--computes", default="", help="f32 or bf16, instead of what is planned")
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    model = write_model(WORK / "qwen2.5-0.5b-shape")
    limit = read_bandwidth()
    print(f"Machine: {table.machine()}; its memory reads {limit / 1e9:.1f} GB/s")
    for precision in options.precision:
        settings = engine_settings(model, WORK / "cache", precision)
        for rows in options.rows:
            found = spent(Graph(settings, rows, options.computes), options.steps)
            print("\n".join(["", *lines(f"{precision}, {rows} rows", found, limit)]), flush=True)


if __name__ == "__main__":
    main()
