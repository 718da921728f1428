"""The bodies of /api/*, as Ollama defines them. `keep_alive` changes nothing: the model stays loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

_Stop = Annotated[str, Meta(min_length=1, max_length=1024)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Think = bool | Literal["low", "medium", "high", "max"]
_Format = Literal["", "json"] | dict[str, object]


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    num_predict: Annotated[int, Meta(ge=-2, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: _Stop | Annotated[list[_Stop], Meta(max_length=16)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    # the server's own, settled when it started
    num_ctx: object = None
    num_batch: object = None
    num_gpu: object = None
    main_gpu: object = None
    num_thread: object = None
    num_keep: object = None
    numa: object = None
    low_vram: object = None
    f16_kv: object = None
    logits_all: object = None
    vocab_only: object = None
    use_mmap: object = None
    use_mlock: object = None
    embedding_only: object = None
    penalize_newline: object = None
    # not supported
    mirostat: object = None
    mirostat_tau: object = None
    mirostat_eta: object = None
    tfs_z: object = None
    typical_p: object = None


SETTLED = (
    *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "numa", "low_vram", "f16_kv"),
    *("logits_all", "vocab_only", "use_mmap", "use_mlock", "embedding_only", "penalize_newline"),
)
# Values that ask for nothing; others are refused.
NO_EFFECT: dict[str, tuple[float, ...] | None] = {
    "mirostat": (0,),
    "mirostat_tau": None,  # of mirostat alone
    "mirostat_eta": None,
    "tfs_z": (0, 1),
    "typical_p": (0, 1),
}


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    arguments: dict[str, object] = {}
    index: int | None = None
    description: object = None


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    function: CalledFunction
    id: str | None = None
    type: str | None = None


class Message(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tool_name` says whose result a tool's message is, where it has no `tool_call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[object] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class FunctionDefinition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None


class Tool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    function: FunctionDefinition
    type: Literal["function"] = "function"
    items: object = None


class Asking(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What /api/chat and /api/generate share."""

    model: str
    stream: bool | None = None
    format: _Format | None = None
    options: Options | None = None
    think: _Think | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    keep_alive: object = None
    truncate: object = None
    shift: object = None


class OllamaChatRequest(Asking, frozen=True, forbid_unknown_fields=True, kw_only=True):
    messages: list[Message] | None = None
    tools: list[Tool] | None = None


class GenerateRequest(Asking, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    raw: bool | None = None
    # not supported
    images: list[object] | None = None
    template: str | None = None
    context: list[int] | None = None


class EmbedRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    input: str | Annotated[list[str], Meta(min_length=1)]
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    options: object = None
    keep_alive: object = None


class EmbeddingsRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    prompt: str
    options: object = None
    keep_alive: object = None


class ShowRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`name` is an older name of `model`."""

    model: str | None = None
    name: str | None = None
    verbose: bool | None = None
    system: object = None
    template: object = None
    options: object = None
