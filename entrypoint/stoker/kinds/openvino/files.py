"""What the builder and the runtimes agree on: the files in an engine's directory, and what adapters find there."""

from __future__ import annotations

from dataclasses import dataclass

GRAPH = "openvino_model.xml"
WEIGHTS = "openvino_model.bin"

TARGETS = "adapter_targets.json"
"""Which projections of a graph take adapters; absent from an engine that takes none."""

LARGEST_NUMBER = 255
"""Of an adapter in a graph; 0 is the base."""


@dataclass(frozen=True)
class Target:
    """An entry of TARGETS: projections that share their input and are computed as one, by their modules' names and
    their outputs' widths."""

    modules: tuple[str, ...]
    outputs: tuple[int, ...]
    inputs: int


def constant_name(kind: str, place: int) -> str:
    """What a constant that an adapter replaces is called: "a" and "b" of a target, "mask" of targets with so many
    modules. OpenVINO GenAI replaces only constants whose names end like this."""
    return f"stoker.adapters.{kind}.{place}.embed_tokens.weight"
