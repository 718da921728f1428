"""Names of the files in an engine's directory, for the builder and the runtimes."""

GRAPH = "openvino_model.xml"
WEIGHTS = "openvino_model.bin"

TARGETS = "adapter_targets.json"
"""Which projections of a graph take adapters; absent from an engine that takes none."""

LARGEST_NUMBER = 255
"""Of an adapter in a graph; 0 is the base."""


def constant_name(kind: str, place: int) -> str:
    """What a constant that an adapter replaces is called: "a" and "b" of a target, "mask" of targets with so many
    modules. OpenVINO GenAI replaces only constants whose names end like this."""
    return f"stoker.adapters.{kind}.{place}.embed_tokens.weight"
