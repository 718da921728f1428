"""The fallback runtime, for graphs whose attention the paged kernels cannot express (soft-capped logits of Gemma 2),
and for requests that need logits (beside.py).

Each running sequence has an infer request with a state of its own; the steps of several are run one after another.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops

from stoker.kinds.openvino.build.rows import FEWEST, SAMPLED
from stoker.kinds.openvino.files import GRAPH
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.sampler import Logits
from stoker.launch.stub.turns import TurnsRuntime


class RequestSession:
    """`more`: inputs that are always the same."""

    def __init__(self, request: openvino.InferRequest, more: Mapping[str, npt.NDArray[np.int64]]) -> None:
        self._request = request
        self._more = more

    def infer(self, ids: Sequence[int], done: int, *, every: bool = False) -> Logits:
        end = done + len(ids)
        self._request.infer(
            {
                "input_ids": np.array([ids], np.int64),
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": np.arange(done, end, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, np.int32),
                **self._more,
            }
        )
        logits = self._request.get_tensor("logits").data[0]
        return np.asarray(logits if every else logits[-1], np.float32)

    def reset(self) -> None:
        self._request.reset_state()


class DenseRuntime(TurnsRuntime):
    def __init__(self, settings: EngineSettings, at_once: int = sys.maxsize) -> None:
        core = openvino.Core()
        model = core.read_model(Path(settings.engine_directory) / GRAPH)
        make_unfilled(model)
        self._compiled: openvino.CompiledModel | None = core.compile_model(model, "CPU", compile_properties(settings))
        names = {name for each in model.inputs for name in each.get_names()}
        self._more = {SAMPLED: np.zeros(1, np.int64)} if SAMPLED in names else {}
        super().__init__(settings, self._session, at_once)

    def _session(self) -> RequestSession:
        assert self._compiled is not None
        return RequestSession(self._compiled.create_infer_request(), self._more)

    def close(self) -> None:
        super().close()
        self._compiled = None


def make_unfilled(model: openvino.Model) -> None:
    """Takes the least number of rows (stoker.kinds.openvino.build.rows) out of a graph: rows are along the first axis,
    where paged attention has its tokens and dense attention its one sequence."""
    for node in model.get_ops():
        if node.get_type_name() == "Maximum":
            for port in node.inputs():
                value = port.get_source_output().get_node()
                if isinstance(value, openvino.op.Constant) and value.data.dtype == np.int32 and value.data == FEWEST:
                    port.replace_source_output(ops.constant(np.int32(1)).output(0))
