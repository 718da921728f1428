"""What a model's own files say of the adapters that fit it."""

from __future__ import annotations

from pathlib import Path

from stoker.resolve.adapter import Fitting
from stoker.resolve.lora import in_layer
from stoker.resolve.model import Model
from stoker.resolve.safetensors_header import read_header
from stoker.resolve.vocabularies import token_ids

_OTHER_TOWERS = ("vision", "visual", "audio")


def fitting_of(model: Model, max_rank: int) -> Fitting:
    """Reads headers and the tokenizer: up to a second. Nothing is known of the shapes of an engine without a
    checkpoint, which then checks them itself. DamagedModelError for files that make no sense."""
    shapes: dict[str, tuple[int, int] | None] = {}
    for name in model.files if model.directory is not None else ():
        if name.endswith(".safetensors") and model.directory is not None:
            shapes |= _shapes(model.directory / name)
    return Fitting(model.served_name, max_rank, shapes, frozenset(token_ids(model.directory)))


def _shapes(path: Path) -> dict[str, tuple[int, int] | None]:
    found: dict[str, tuple[int, int] | None] = {}
    for name, tensor in read_header(path).tensors.items():
        module, _, kind = name.rpartition(".")
        if any(tower in module for tower in _OTHER_TOWERS):
            continue
        if kind == "weight" and len(tensor.shape) == 2 and tensor.dtype in ("F32", "F16", "BF16"):
            found[in_layer(module)] = (tensor.shape[0], tensor.shape[1])
        elif kind in ("weight", "qweight", "weight_packed"):
            found[in_layer(module)] = None
    return found
