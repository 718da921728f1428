"""config.pbtxt of the model that the C++ backend serves: the tensor contract, and the parameters with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stoker.kinds.tensorrt_llm.runtime.parameters import Served, parameters
from stoker.launch import contract
from stoker.launch.contract import SCALAR, TensorSpec
from stoker.launch.repository import parameter

# These scalars keep their dimension in the backend; the others lose it.
_UNSHAPED = ("request_output_len", "stop", "streaming", "guided_decoding_guide_type", "guided_decoding_guide")


def write_compiled_repository(directory: Path, served: Served, max_batch_size: int) -> Path:
    """Writes `<directory>/tensorrt_llm/{config.pbtxt,1/}` and returns `directory`."""
    model = directory / contract.MODEL_NAME
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(compiled_model_config(served, max_batch_size))
    return directory


def compiled_model_config(served: Served, max_batch_size: int) -> str:
    return "\n".join(
        (
            f'name: "{contract.MODEL_NAME}"',
            'backend: "tensorrtllm"',
            f"max_batch_size: {max_batch_size}",
            "# Any number of responses to a request: tokens as they come.",
            "model_transaction_policy { decoupled: true }",
            "# The engine batches in flight: Triton is to hand requests over at once, several if several are there.",
            f"dynamic_batching {{ preferred_batch_size: [ {max_batch_size} ] max_queue_delay_microseconds: 0 }}",
            "# One instance for the whole engine; the GPUs are the backend's affair.",
            "instance_group [ { count: 1 kind: KIND_CPU } ]",
            *_parameters(served),
            *(_tensor("input", _as_computed(spec, served)) for spec in contract.INPUTS if not spec.ours),
            *(_tensor("output", spec) for spec in contract.OUTPUTS if not spec.ours),
            "",
        )
    )


def _parameters(served: Served) -> Iterator[str]:
    for each in parameters(served):
        yield f"# {each.name}: {each.reason}."
        yield parameter(each.name, each.value)


def _as_computed(spec: TensorSpec, served: Served) -> TensorSpec:
    """An adapter's weights have the engine's own type."""
    bf16 = spec.name == contract.ADAPTER_WEIGHTS and served.dtype == "bf16"
    return replace(spec, data_type=contract.BF16) if bf16 else spec


def _tensor(field: str, spec: TensorSpec) -> str:
    dims = ", ".join(str(size) for size in spec.dims)
    shape = _input_shape(spec) if field == "input" else ""
    return f'{field} [ {{ name: "{spec.name}" data_type: {spec.data_type} dims: [ {dims} ]{shape} }} ]'


def _input_shape(spec: TensorSpec) -> str:
    """How Triton may batch it: scalars as one vector, what differs in length as it is."""
    optional = " optional: true" if spec.optional else ""
    if spec.dims == SCALAR:
        return optional if spec.name in _UNSHAPED else f" reshape {{ shape: [ ] }}{optional}"
    return f" allow_ragged_batch: true{optional}"
