"""Which runtime a graph needs: the graph itself says so."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from stoker.launch.openvino.runtime import Runtime
from stoker.launch.settings import EngineSettings

GRAPH = "openvino_model.xml"


def open_runtime(settings: EngineSettings) -> Runtime:
    """Dense attention for graphs whose rt_info has ("stoker", "attention") = "dense", else paged attention."""
    if attention_of(Path(settings.engine_directory) / GRAPH) == "dense":
        from stoker.launch.openvino.dense import DenseRuntime

        return DenseRuntime(settings)
    from stoker.launch.openvino.paged import PagedRuntime

    return PagedRuntime(settings)


def attention_of(graph: Path) -> str:
    import openvino

    model = openvino.Core().read_model(graph)
    if not model.has_rt_info(["stoker", "attention"]):
        return "paged"
    return str(model.get_rt_info(["stoker", "attention"]).astype(str))


def named(runtime: str) -> Callable[[EngineSettings], Runtime]:
    """The callable that "module:attribute" names."""
    module, _, attribute = runtime.partition(":")
    opener: Callable[[EngineSettings], Runtime] = getattr(importlib.import_module(module), attribute)
    return opener
