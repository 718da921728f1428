"""Checkpoints that only one kind of engine is made from."""

from __future__ import annotations

from stoker.errors import UnsupportedModelError
from stoker.resolve.model import Model
from stoker.resolve.nemo import MODEL_TYPE


def archive_error(model: Model) -> UnsupportedModelError | None:
    """For every kind that reads Hugging Face's format alone: the error for a NeMo archive."""
    if model.architecture.model_type != MODEL_TYPE:
        return None
    return UnsupportedModelError(
        f"{model.served_name} is a NeMo checkpoint, which only TensorRT-LLM reads",
        why="that takes an NVIDIA GPU and the NVIDIA image",
        remedy="elsewhere, export it to Hugging Face's format with NeMo's scripts/checkpoint_converters",
    )
