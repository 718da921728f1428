"""The fallback runtime, for graphs whose attention the paged kernels cannot express (soft-capped logits of Gemma 2).

Each running sequence has an infer request with a state of its own; the steps of several are run one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from stoker.kinds.openvino.files import GRAPH
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.sampler import Logits
from stoker.launch.stub.turns import TurnsRuntime


class RequestSession:
    def __init__(self, request: Any) -> None:
        self._request = request

    def infer(self, ids: Sequence[int], done: int) -> Logits:
        end = done + len(ids)
        self._request.infer(
            {
                "input_ids": np.array([ids], np.int64),
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": np.arange(done, end, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, np.int32),
            }
        )
        return np.asarray(self._request.get_tensor("logits").data[0, -1], np.float32)

    def reset(self) -> None:
        self._request.reset_state()


class DenseRuntime(TurnsRuntime):
    def __init__(self, settings: EngineSettings) -> None:
        graph = Path(settings.engine_directory) / GRAPH
        self._compiled: Any = openvino.Core().compile_model(graph, "CPU", compile_properties(settings))
        super().__init__(settings, lambda: RequestSession(self._compiled.create_infer_request()))

    def close(self) -> None:
        super().close()
        self._compiled = None
