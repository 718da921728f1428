"""Between Triton's tensors and our values, inside the stub."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from stoker.launch import contract
from stoker.launch.generation import Adapter, Generation, Guide, RequestRefusedError

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class Sender(Protocol):
    """Triton's response sender."""

    def send(self, response: pb_utils.InferenceResponse | None = None, *, flags: int = 0) -> None: ...

    def is_cancelled(self) -> bool: ...


def is_stop(request: pb_utils.InferenceRequest) -> bool:
    """Whether this only ends the request of the same id."""
    return bool(_integer(request, "stop"))


def address_of(request: pb_utils.InferenceRequest) -> tuple[int, int | None] | None:
    """The channel that a request is about, and its sequence there; None of a request that stands alone."""
    channel = _integer(request, contract.CHANNEL)
    return None if channel is None else (channel, _integer(request, contract.HANDLE))


def read_generation(request: pb_utils.InferenceRequest) -> Generation:
    """RequestRefusedError for tensors that contradict each other."""
    length = _required(request, "input_lengths")
    ids = _vector(request, "input_ids")
    if not 0 < length <= len(ids):
        raise RequestRefusedError(f"input_lengths is {length}", why=f"input_ids has {len(ids)} ids")
    scored = _integer(request, "prompt_log_probs")
    return Generation(
        request_id=request.request_id(),
        input_ids=ids[:length],
        max_tokens=_required(request, "request_output_len", least=1 if scored is None else 0),
        end_ids=_end_ids(request),
        min_tokens=_integer(request, "min_tokens") or 0,
        temperature=_number(request, "temperature") or 0.0,
        top_p=_number(request, "runtime_top_p"),
        top_k=_integer(request, "runtime_top_k"),
        min_p=_number(request, "min_p"),
        seed=_integer(request, "seed"),
        presence_penalty=_number(request, "presence_penalty"),
        frequency_penalty=_number(request, "frequency_penalty"),
        repetition_penalty=_number(request, "repetition_penalty"),
        log_probs=bool(_integer(request, "return_log_probs")),
        top_log_probs=_integer(request, "top_log_probs") or 0,
        prompt_log_probs=scored,
        guide=_guide(request),
        embedding_bias=_bias(request),
        perf_metrics=bool(_integer(request, "return_perf_metrics")),
        adapter=_adapter(request),
        token_types=_vector(request, "token_type_ids")[:length],
    )


def _bias(request: pb_utils.InferenceRequest) -> array[float] | None:
    tensor = pb_utils.get_input_tensor_by_name(request, "embedding_bias")
    return None if tensor is None else array("f", tensor.as_numpy().astype(np.float32).tobytes())


def _guide(request: pb_utils.InferenceRequest) -> Guide | None:
    kind, text = (_text(request, f"guided_decoding_guide{suffix}") for suffix in ("_type", ""))
    if (kind is None) != (text is None):
        raise RequestRefusedError("guided_decoding_guide and guided_decoding_guide_type go together")
    return None if kind is None or text is None else Guide(kind, text)


def _adapter(request: pb_utils.InferenceRequest) -> Adapter | None:
    number, directory = _integer(request, "lora_task_id"), _text(request, "lora_directory")
    if bool(number) != bool(directory):
        raise RequestRefusedError("lora_task_id and lora_directory go together")
    return Adapter(number, directory) if number and directory else None


def _vector(request: pb_utils.InferenceRequest, name: str) -> Sequence[int]:
    """A flat array, which does all that a sequence of numbers does, but is none by NumPy's types."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return () if tensor is None else cast(Sequence[int], tensor.as_numpy().reshape(-1))


def _text(request: pb_utils.InferenceRequest, name: str) -> str | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy().flat[0].decode()


def _integer(request: pb_utils.InferenceRequest, name: str) -> int | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else int(tensor.as_numpy().flat[0])


def _number(request: pb_utils.InferenceRequest, name: str) -> float | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else float(tensor.as_numpy().flat[0])


def _required(request: pb_utils.InferenceRequest, name: str, least: int = 1) -> int:
    value = _integer(request, name)
    if value is None or value < least:
        raise RequestRefusedError(f"{name} must be at least {least}", why=f"it is {value}")
    return value


def _end_ids(request: pb_utils.InferenceRequest) -> tuple[int, ...]:
    """`end_id`, then each stop word, which must be a single token: strings are matched by the API, in text."""
    end_id = _integer(request, "end_id")
    ends = () if end_id is None or end_id < 0 else (end_id,)
    words = pb_utils.get_input_tensor_by_name(request, "stop_words_list")
    return ends if words is None else ends + single_tokens(words.as_numpy())


def single_tokens(words: npt.NDArray[np.int32]) -> tuple[int, ...]:
    """The ids of a stop_words_list, int32 [..., 2, n]: flat ids above, end offsets below, -1 as padding."""
    flat, offsets = words.reshape(2, -1).tolist()
    ends = [offset for offset in offsets if offset >= 0]
    if ends != list(range(1, len(ends) + 1)):
        raise RequestRefusedError(
            "stop_words_list has a stop word of several tokens", why="only single tokens are supported"
        )
    return tuple(flat[: len(ends)])


def token_response(
    ids: Sequence[int],
    log_probs: Sequence[float] | None,
    out_of_memory: bool = False,
    told: Mapping[str, int] | None = None,
) -> pb_utils.InferenceResponse:
    """One response with these ids; [1, 1, n] on the wire. `told`: numbers by the names of their tensors."""
    tensors = [
        pb_utils.Tensor("output_ids", np.array([[ids]], np.int32)),
        pb_utils.Tensor("sequence_length", np.array([[len(ids)]], np.int32)),
    ]
    if log_probs is not None:
        tensors.append(pb_utils.Tensor("output_log_probs", np.array([[log_probs]], np.float32)))
    if out_of_memory:
        tensors.append(pb_utils.Tensor("out_of_memory", np.array([[1]], np.int32)))
    for name, value in (told or {}).items():
        kind = np.int32 if name == contract.REUSED_BLOCKS else np.int64
        tensors.append(pb_utils.Tensor(name, np.array([[value]], kind)))
    return pb_utils.InferenceResponse(output_tensors=tensors)


def embedding_response(embedding: Sequence[float] | npt.NDArray[np.float32]) -> pb_utils.InferenceResponse:
    return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", np.asarray(embedding, np.float32)[None])])


def frame_response(frame: bytes) -> pb_utils.InferenceResponse:
    return pb_utils.InferenceResponse([pb_utils.Tensor(contract.FRAME, np.frombuffer(frame, np.uint8)[None])])


REFUSED = "refused: "


def error_response(message: str, refused: bool = False) -> pb_utils.InferenceResponse:
    """`refused` tells the client that only this request is at fault."""
    text = f"{REFUSED}{message}" if refused else message
    code = pb_utils.TritonError.INVALID_ARG if refused else pb_utils.TritonError.UNAVAILABLE
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))
