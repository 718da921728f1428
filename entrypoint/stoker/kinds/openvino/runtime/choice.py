"""Which runtime a graph needs: the graph itself says so."""

from __future__ import annotations

from pathlib import Path

from stoker.kinds.openvino.files import GRAPH
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Runtime


def open_runtime(settings: EngineSettings) -> Runtime:
    """Dense attention for graphs whose rt_info has ("stoker", "attention") = "dense", else paged attention."""
    if attention_of(Path(settings.engine_directory) / GRAPH) == "dense":
        from stoker.kinds.openvino.runtime.dense import DenseRuntime

        return DenseRuntime(settings)
    from stoker.kinds.openvino.runtime.paged import PagedRuntime

    return PagedRuntime(settings)


def attention_of(graph: Path) -> str:
    import openvino

    model = openvino.Core().read_model(graph)
    if not model.has_rt_info(["stoker", "attention"]):
        return "paged"
    return str(model.get_rt_info(["stoker", "attention"]).astype(str))
