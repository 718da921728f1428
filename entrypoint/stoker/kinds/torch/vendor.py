"""Whose GPUs the installed PyTorch drives, read from its files: importing it takes seconds."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from stoker.probe.machine import AMD, NVIDIA

CPU = "cpu"


def pytorch_vendor() -> str:
    """ "nvidia", "amd" or "cpu" for a build without GPUs; empty where PyTorch is not installed."""
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        return vendor_of(Path(folder, "version.py"))
    return ""


def vendor_of(version: Path) -> str:
    """By torch/version.py, where a build writes the release of CUDA or of HIP that it is for, or None."""
    try:
        text = version.read_text(errors="replace")
    except OSError:
        return CPU
    for vendor, name in ((AMD, "hip"), (NVIDIA, "cuda")):
        if re.search(rf"^{name}\b[^=\n]*=\s*['\"]", text, re.MULTILINE):
            return vendor
    return CPU


def gpu_vendors() -> tuple[str, ...]:
    """A build for one vendor's GPUs drives no other's."""
    vendor = pytorch_vendor()
    return (vendor,) if vendor in (AMD, NVIDIA) else ()
