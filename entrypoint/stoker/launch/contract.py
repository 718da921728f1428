"""The tensors that every engine kind's Triton model speaks: those of TensorRT-LLM's C++ backend.

Token ids in, token ids out, decoupled: any number of responses to a request, the last one flagged final. Each tensor
has a leading batch dimension of 1 on the wire, which `dims` leaves out as Triton's config.pbtxt does.

Names, types and shapes are those of `inflight_batcher_llm` in TensorRT-LLM 1.2. What that backend
lacks is marked `ours`; a model that does not take it does not declare it, and Triton then refuses a request with it.
"""

from __future__ import annotations

from dataclasses import dataclass

MODEL_NAME = "engine"

INT32, INT64, UINT64, FP32, BOOL = "TYPE_INT32", "TYPE_INT64", "TYPE_UINT64", "TYPE_FP32", "TYPE_BOOL"
UINT8, UINT32, STRING = "TYPE_UINT8", "TYPE_UINT32", "TYPE_STRING"
FP16, BF16 = "TYPE_FP16", "TYPE_BF16"

SCALAR = (1,)
VECTOR = (-1,)


@dataclass(frozen=True)
class TensorSpec:
    """`dims` without the batch dimension; -1 is any size. `ours`: an addition of Stoker's."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = True
    ours: bool = False

    @property
    def wire_type(self) -> str:
        """The type's name on the wire: INT32, FP32, BOOL, BYTES..."""
        return "BYTES" if self.data_type == STRING else self.data_type.removeprefix("TYPE_")


def _scalars(data_type: str, *names: str, ours: bool = False) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, data_type, SCALAR, ours=ours) for name in names)


INPUTS: tuple[TensorSpec, ...] = (
    TensorSpec("input_ids", INT32, VECTOR, optional=False),
    TensorSpec("input_lengths", INT32, SCALAR, optional=False),
    TensorSpec("request_output_len", INT32, SCALAR, optional=False),
    *_scalars(INT32, "end_id", "pad_id"),
    TensorSpec("stop_words_list", INT32, (2, -1)),
    TensorSpec("bad_words_list", INT32, (2, -1)),
    TensorSpec("embedding_bias", FP32, VECTOR),
    *_scalars(INT32, "beam_width", "num_return_sequences"),
    *_scalars(FP32, "temperature", "runtime_top_p", "runtime_top_p_min", "runtime_top_p_decay"),
    *_scalars(INT32, "runtime_top_k", "min_tokens"),
    *_scalars(FP32, "len_penalty", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *_scalars(UINT64, "seed"),
    *_scalars(BOOL, "return_log_probs", "return_perf_metrics", "exclude_input_in_output", "stop", "streaming"),
    *_scalars(UINT64, "lora_task_id"),
    # The weights of that adapter, with the first request for it, and when the engine's cache has dropped it
    # (adapter_tensors.py). BF16 for an engine that computes in that.
    TensorSpec("lora_weights", FP16, (-1, -1)),
    TensorSpec("lora_config", INT32, (-1, 3)),
    *_scalars(STRING, "guided_decoding_guide_type", "guided_decoding_guide"),
    *_scalars(FP32, "min_p", ours=True),
    # Where the adapter of lora_task_id lies; of engines that read it themselves.
    *_scalars(STRING, "lora_directory", ours=True),
    # Which of two texts each token belongs to, 0 or 1; for models that were trained to be told.
    TensorSpec("token_type_ids", INT32, VECTOR, ours=True),
    # How many of the most probable tokens are told beside each; only in frames.
    *_scalars(INT32, "top_log_probs", ours=True),
    # The same for the prompt's tokens, each beside its own log probability; only in frames. request_output_len may then
    # be 0: the prompt is scored, and nothing generated.
    *_scalars(INT32, "prompt_log_probs", ours=True),
    # The multiplexed stream (frames.py): a request with a channel alone opens it. One with a handle too has no response
    # of its own: its tokens go to that channel. With `stop` it ends the sequence of that handle.
    *_scalars(UINT64, "channel", ours=True),
    *_scalars(UINT32, "handle", ours=True),
)

OUTPUTS: tuple[TensorSpec, ...] = (
    TensorSpec("output_ids", INT32, (-1, -1), optional=False),
    TensorSpec("sequence_length", INT32, VECTOR, optional=False),
    TensorSpec("output_log_probs", FP32, (-1, -1)),
    # In the final response when asked for: blocks of the prompt that the KV cache held, where the engine reports them,
    # and moments by a clock of the engine's own.
    TensorSpec("kv_cache_reused_blocks", INT32, SCALAR),
    *_scalars(INT64, "arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns"),
    # 1 in the final response of a sequence that the engine gave up for lack of KV cache; absent otherwise.
    TensorSpec("out_of_memory", INT32, SCALAR, ours=True),
    # Instead of ids, of a model that gives a vector for the whole input, or one number.
    TensorSpec("embedding", FP32, VECTOR, optional=True, ours=True),
    # Of a request that opened a channel: what one engine step gave to all of its sequences.
    TensorSpec("frame", UINT8, VECTOR, optional=True, ours=True),
)
CHANNEL, HANDLE, FRAME = "channel", "handle", "frame"

TIMES = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")
REUSED_BLOCKS = "kv_cache_reused_blocks"

# What our own Python-backend models take at least: to generate text, and to encode it.
TEXT_INPUTS = (
    *("input_ids", "input_lengths", "request_output_len", "end_id", "stop_words_list"),
    *("temperature", "runtime_top_p", "runtime_top_k", "seed"),
    *("return_log_probs", "return_perf_metrics", "stop", "streaming"),
)
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
ADAPTERS = ("lora_task_id", "lora_directory")  # of engines that read adapters themselves
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "lora_weights", "lora_config"
GUIDES = ("guided_decoding_guide_type", "guided_decoding_guide")
TEXT_OUTPUTS = ("output_ids", "sequence_length", "output_log_probs", "out_of_memory", *TIMES)
ENCODER_INPUTS = ("input_ids", "input_lengths", "request_output_len", "stop", "streaming", "token_type_ids")
ENCODER_OUTPUTS = ("embedding",)

REQUESTS_METRIC = "nv_trt_llm_request_metrics"
KV_BLOCKS_METRIC = "nv_trt_llm_kv_cache_block_metrics"
PROGRESS_METRIC = "stoker_progress"  # ours: tokens so far, and the steps of sequences that gave them


def select(specs: tuple[TensorSpec, ...], names: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """The specs of these names, in the contract's order; ValueError for a name that is not in the contract."""
    unknown = set(names) - {spec.name for spec in specs}
    if unknown:
        raise ValueError(f"not in the tensor contract: {sorted(unknown)}")
    return tuple(spec for spec in specs if spec.name in names)
