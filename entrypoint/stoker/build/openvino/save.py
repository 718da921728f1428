"""Writes an engine's directory: the graph, and whatever of the model's own files serving needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import openvino as ov

from stoker.build.openvino.marks import mark_decompression
from stoker.errors import StorageError

GRAPH = "openvino_model.xml"
COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)


def save_graph(graph: ov.Model, directory: Path) -> int:
    """Writes openvino_model.xml and .bin to the disk; returns their bytes."""
    files = write_graph(graph, directory)
    for file in files:
        sync(file)
    return sum(file.stat().st_size for file in files)


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


def copy_companions(source: Path, directory: Path) -> list[str]:
    """Copies the tokenizer, templates and configs that are there; returns their names."""
    names = [name for name in COMPANIONS if (source / name).is_file()]
    for name in names:
        try:
            shutil.copyfile(source / name, directory / name)
        except OSError as error:
            raise StorageError(f"{name} cannot be copied into the engine", why=str(error)) from error
        sync(directory / name)
    sync(directory)
    return names


def sync(path: Path) -> None:
    """Returns when the file's, or directory's, data has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written to disk", why=str(error), remedy="free disk space"
        ) from error
    finally:
        os.close(descriptor)
