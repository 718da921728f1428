"""The API process's half of the tensor contract: requests into Triton's messages, and what went wrong out of them."""

from __future__ import annotations

import itertools
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tritonclient.grpc.service_pb2 import ModelInferRequest

from stoker.launch import contract
from stoker.launch.adapter_tensors import AdapterTensors
from stoker.launch.generation import EngineDiedError, Generation, PerfMetrics, RequestRefusedError, died

_REFUSED = "refused: "
_SPECS = {spec.name: spec for spec in contract.INPUTS}
_FORMATS = {"INT32": "i", "UINT32": "I", "UINT64": "Q", "FP32": "f", "BOOL": "?"}
_STOP_INPUTS = (("input_ids", (0,)), ("input_lengths", (1,)), ("request_output_len", (1,)))
_Values: TypeAlias = Sequence[float | str]
_SEED_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Address:
    """Where a sequence's tokens go instead of into responses of its own: a channel, and the sequence's number in it."""

    channel: int
    handle: int


def encode_request(generation: Generation, wire_id: str, address: Address | None = None) -> ModelInferRequest:
    """The ModelInferRequest: only the tensors that are set, so that a model which lacks one can still take the rest.

    One with an address is answered by nothing but frames of its channel.
    """
    return _encoded(wire_id, (*_inputs(generation), *_addressed(address)), answered=address is None)


def append_adapter(request: ModelInferRequest, tensors: AdapterTensors, wire_type: str) -> None:
    """What `lora_task_id` stands for, of an engine that does not read adapters itself."""
    for name, datatype, values in (
        (contract.ADAPTER_WEIGHTS, wire_type, tensors.weights),
        (contract.ADAPTER_CONFIG, "INT32", tensors.config),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=(1, *values.shape))
        request.raw_input_contents.append(values.tobytes())


def encode_stop(wire_id: str, address: Address | None = None) -> ModelInferRequest:
    """Ends the request of this id, or of this address, before the engine's next step."""
    inputs = (*_STOP_INPUTS, ("stop", (True,)), *_addressed(address))
    return _encoded(wire_id, inputs, answered=address is None)


def encode_open(channel: int, serial: int) -> ModelInferRequest:
    """Opens a channel, whose frames are the responses to this request until it is cancelled, or opened anew."""
    return _encoded(f"channel/{serial}", (*_STOP_INPUTS, (contract.CHANNEL, (channel,))))


def _addressed(address: Address | None) -> tuple[tuple[str, _Values], ...]:
    if address is None:
        return ()
    return (contract.CHANNEL, (address.channel,)), (contract.HANDLE, (address.handle,))


def _encoded(wire_id: str, inputs: Iterable[tuple[str, _Values]], answered: bool = True) -> ModelInferRequest:
    request = ModelInferRequest(model_name=contract.MODEL_NAME, id=wire_id)
    request.parameters["triton_enable_empty_final_response"].bool_param = answered
    for name, values in inputs:
        _append(request, name, values)
    return request


def _inputs(generation: Generation) -> Iterator[tuple[str, _Values]]:
    yield "input_ids", generation.input_ids
    yield "input_lengths", (len(generation.input_ids),)
    yield "request_output_len", (generation.max_tokens,)
    yield "streaming", (True,)
    if generation.end_ids:
        yield "end_id", generation.end_ids[:1]
        others = generation.end_ids[1:]
        if others:
            yield "stop_words_list", (*others, *range(1, len(others) + 1))
    if generation.token_types:
        yield "token_type_ids", generation.token_types
    yield from _sampling(generation)


def _top_p(generation: Generation) -> float | None:
    """TensorRT-LLM is greedy, whatever the temperature, unless it is told one of top-k and top-p; 1 is no effect."""
    return 1.0 if _unbounded(generation) else generation.top_p


def _unbounded(generation: Generation) -> bool:
    return generation.temperature > 0 and generation.top_p is None and not generation.top_k


def _sampling(generation: Generation) -> Iterator[tuple[str, _Values]]:
    scalars = {
        "temperature": generation.temperature or None,
        "runtime_top_p": _top_p(generation),
        "runtime_top_k": generation.top_k,
        "min_p": generation.min_p,
        "min_tokens": generation.min_tokens or None,
        "seed": None if generation.seed is None else generation.seed & _SEED_MASK,
        "presence_penalty": generation.presence_penalty,
        "frequency_penalty": generation.frequency_penalty,
        "repetition_penalty": generation.repetition_penalty,
        "return_log_probs": generation.log_probs or None,
        "top_log_probs": generation.top_log_probs or None,
        "prompt_log_probs": generation.prompt_log_probs,
        "return_perf_metrics": generation.perf_metrics or None,
    }
    for name, value in scalars.items():
        if value is not None:
            yield name, (value,)
    if generation.embedding_bias is not None:
        yield "embedding_bias", generation.embedding_bias
    if generation.adapter is not None:
        yield "lora_task_id", (generation.adapter.number,)
        if generation.adapter.directory:
            yield "lora_directory", (generation.adapter.directory,)
    if generation.guide is not None:
        yield "guided_decoding_guide_type", (generation.guide.kind,)
        yield "guided_decoding_guide", (generation.guide.text,)


def _append(request: ModelInferRequest, name: str, values: _Values) -> None:
    spec = _SPECS[name]
    shape = (1, 2, len(values) // 2) if len(spec.dims) == 2 else (1, len(values))
    request.inputs.add(name=name, datatype=spec.wire_type, shape=shape)
    request.raw_input_contents.append(_packed(spec.wire_type, values))


def _packed(wire_type: str, values: _Values) -> bytes:
    """Little-endian numbers, or texts that each follow their length."""
    if wire_type == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if isinstance(values, array):
        return values.tobytes()
    return struct.pack(f"<{len(values)}{_FORMATS[wire_type]}", *values)


def error_of(message: str) -> RequestRefusedError | EngineDiedError:
    """Triton refuses a malformed request in words of its own; a dead or broken engine says what it is."""
    if _REFUSED in message:
        return RequestRefusedError(message.rpartition(_REFUSED)[2])
    if "Stub process" in message or "engine" in message.replace(f"'{contract.MODEL_NAME}'", ""):
        return died(message)
    return RequestRefusedError(message)


def perf_metrics(told: dict[str, int]) -> PerfMetrics | None:
    """None where only a part is told."""
    if not all(name in told for name in contract.TIMES):
        return None
    moments = [told[name] for name in contract.TIMES]
    queue, prefill, decode = (max(0, end - begin) / 1e9 for begin, end in itertools.pairwise(moments))
    return PerfMetrics(queue, prefill, decode, told.get(contract.REUSED_BLOCKS))
