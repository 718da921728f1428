"""Writes an engine's graph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import openvino as ov

from stoker.build.companions import sync
from stoker.errors import StorageError
from stoker.kinds.openvino.build.marks import mark_decompression
from stoker.kinds.openvino.files import GRAPH, TARGETS


def save_graph(graph: ov.Model, directory: Path) -> int:
    """Writes openvino_model.xml and .bin to the disk; returns their bytes."""
    files = write_graph(graph, directory)
    for file in files:
        sync(file)
    return sum(file.stat().st_size for file in files)


def write_targets(graph: ov.Model, directory: Path) -> None:
    """Where the graph takes adapters (stoker.kinds.openvino.build.adapters), for the runtime."""
    path = directory / TARGETS
    path.write_text(json.dumps(graph.targets))
    sync(path)


def write_graph(graph: ov.Model, directory: Path) -> tuple[Path, Path]:
    """The same, without waiting for the disk. Weights are written as they are, without a conversion to f16."""
    path = directory / GRAPH
    try:
        ov.save_model(graph, path, compress_to_fp16=False)
        mark_decompression(path)
    except (RuntimeError, OSError) as error:
        free = shutil.disk_usage(directory).free
        raise StorageError(
            "the engine cannot be written",
            why=f"{str(error).strip()}; {free / 1e9:.1f} GB are free there",
            remedy="free disk space, or use another cache",
        ) from error
    return path, path.with_suffix(".bin")
