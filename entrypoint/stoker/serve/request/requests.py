"""The bodies of requests, as OpenAI defines them: parsed strictly, every field declared, nothing silently ignored.

Ranges are part of the types, so the parser's complaint is the API's. A field that is known but not supported yet is
declared with the values that ask for nothing (`no_effect`); any other value is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from stoker.serve.http.errors import invalid, unsupported

MAX_CHOICES = 128
MAX_STOPS = 16
MOST_LIKELIEST = 20  # of the most probable tokens beside one

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Length = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Stop = Annotated[str, Meta(min_length=1, max_length=1024)]
_Stops = Annotated[list[_Stop], Meta(max_length=MAX_STOPS)]
_TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
_RepetitionPenalty = Annotated[float, Meta(gt=0, le=2)]
_ThinkingTokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`include_obfuscation` changes nothing: an answer's length is no secret here."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class Guided(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Forms that the text must have, as vLLM and NIM spell them."""

    guided_json: dict[str, object] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    guided_decoding_backend: str | None = None
    guided_whitespace_pattern: str | None = None


class NvExt(Guided, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """NIM's own place for what OpenAI does not have."""

    top_k: _TopK | None = None
    repetition_penalty: _RepetitionPenalty | None = None
    ignore_eos: bool | None = None
    max_thinking_tokens: _ThinkingTokens | None = None


class StructuredOutputs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same in newer vLLM."""

    json: dict[str, object] | str | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


class Parameters(Guided, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What chat and plain completions share."""

    model: str
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    max_tokens: _Length | None = None
    min_tokens: Annotated[int, Meta(ge=0)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: _TopK | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: _Seed | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: _RepetitionPenalty | None = None
    stop: _Stop | _Stops | None = None
    ignore_eos: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop_token_ids: Annotated[list[int], Meta(max_length=MAX_STOPS)] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    add_special_tokens: bool | None = None
    # change nothing
    priority: object = None
    request_id: object = None
    spaces_between_special_tokens: object = None
    user: str | None = None
    metadata: dict[str, object] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    nvext: NvExt | None = None
    structured_outputs: StructuredOutputs | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)] | None] | None = None
    prompt_logprobs: Annotated[int, Meta(ge=0, le=MOST_LIKELIEST)] | None = None
    # not supported
    length_penalty: float | None = None
    use_beam_search: bool | None = None
    bad_words: object = None
    allowed_token_ids: object = None
    logits_processors: object = None
    cache_salt: object = None
    kv_transfer_params: object = None
    vllm_xargs: object = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None


class JsonSchema(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    description: str | None = None
    schema: dict[str, object] | None = None
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of a message's content. Those of other types than text and refusal are declared to be refused by their type."""

    type: str
    text: str | None = None
    refusal: str | None = None
    cache_control: object = None
    annotations: object = None
    # of parts that are not supported
    image_url: object = None
    input_audio: object = None
    audio_url: object = None
    video_url: object = None
    file: object = None


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`arguments` are JSON in a string, as OpenAI has them; an object is taken too."""

    name: str
    arguments: str | dict[str, object] = "{}"


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`index` is what streamed answers carry; clients that collect them send it back."""

    function: CalledFunction
    id: str = ""
    type: Literal["function"] = "function"
    index: int | None = None


class Message(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`annotations` and `reasoning_details` are parts of others' answers that no template reads. `reasoning` is
    another name of `reasoning_content`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    annotations: object = None
    reasoning_details: object = None
    # not supported
    audio: object = None
    function_call: object = None


class FunctionDefinition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class FunctionTool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`cache_control` changes nothing: prefixes are cached without being asked to."""

    type: Literal["function"]
    function: FunctionDefinition
    cache_control: object = None


class ChosenName(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class ChosenFunction(Struct, frozen=True, forbid_unknown_fields=True, tag="function"):
    function: ChosenName


class AllowedTools(Struct, frozen=True, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenFunction], Meta(min_length=1)]


class ChosenAllowed(Struct, frozen=True, forbid_unknown_fields=True, tag="allowed_tools"):
    allowed_tools: AllowedTools


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | ChosenFunction | ChosenAllowed


class ChatRequest(Parameters, frozen=True, forbid_unknown_fields=True, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: _Length | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_LIKELIEST)] | None = None
    chat_template_kwargs: dict[str, object] | None = None
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_thinking_tokens: _ThinkingTokens | None = None
    thinking_token_budget: _ThinkingTokens | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    documents: list[dict[str, object]] | None = None
    chat_template: str | None = None
    # change nothing
    store: object = None
    prediction: object = None
    verbosity: object = None
    prompt_cache_options: object = None
    # not supported
    functions: list[object] | None = None
    function_call: object = None
    modalities: list[str] | None = None
    audio: object = None
    web_search_options: object = None
    moderation: object = None
    include_reasoning: bool | None = None
    mm_processor_kwargs: object = None
    media_io_kwargs: object = None
    echo: Literal[False] | None = None


class CompletionRequest(Parameters, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prompt: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MOST_LIKELIEST)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    # not supported
    prompt_embeds: object = None


# They change nothing, whatever they say.
HARMLESS = (
    *("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier", "store"),
    *("prediction", "verbosity", "priority", "request_id", "spaces_between_special_tokens"),
    "prompt_cache_options",
)

# The values that ask for nothing; null always does.
NO_EFFECT: dict[str, tuple[object, ...]] = {
    "functions": ([],),
    "function_call": ("none",),
    "guided_decoding_backend": ("auto", "xgrammar"),
    "guided_whitespace_pattern": (),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "moderation": (),
    "include_reasoning": (True,),
    "mm_processor_kwargs": ({},),
    "media_io_kwargs": ({},),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "prompt_embeds": (),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "logits_processors": ([],),
    "cache_salt": (),
    "kv_transfer_params": ({},),
    "vllm_xargs": ({},),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
}

_GUIDED_FIELDS = frozenset(Guided.__struct_fields__)

_Request = TypeVar("_Request", ChatRequest, CompletionRequest)


def complete(request: _Request) -> _Request:
    """With what `nvext` says. Raises ApiError, 400, naming a parameter that is not supported."""
    _refuse_unsupported(request)
    return _without_null_biases(_with_one_budget(_with_extensions(request)))


def _without_null_biases(request: _Request) -> _Request:
    if not request.logit_bias:
        return request
    biases = {name: bias for name, bias in request.logit_bias.items() if bias is not None}
    return msgspec.structs.replace(request, logit_bias=biases)


def _with_one_budget(request: _Request) -> _Request:
    """vLLM has another name for the limit of thinking."""
    if not isinstance(request, ChatRequest) or request.thinking_token_budget is None:
        return request
    if request.max_thinking_tokens not in (None, request.thinking_token_budget):
        raise invalid("'max_thinking_tokens' and 'thinking_token_budget' contradict each other.", "max_thinking_tokens")
    return msgspec.structs.replace(request, max_thinking_tokens=request.thinking_token_budget)


def _with_extensions(request: _Request) -> _Request:
    """What `nvext` says of sampling and thinking is as good as said at the top, unless that is said too."""
    if request.nvext is None:
        return request
    said = {name: getattr(request.nvext, name) for name in NvExt.__struct_fields__}
    lifted = {name: value for name, value in said.items() if value is not None and name not in _GUIDED_FIELDS}
    for name in lifted:
        if not hasattr(request, name):
            raise invalid(f"'nvext.{name}' belongs to chat.", f"nvext.{name}")
        if getattr(request, name) is not None:
            raise invalid(f"'{name}' is given twice, once in nvext.", f"nvext.{name}")
    return msgspec.structs.replace(request, **lifted)


def _refuse_unsupported(request: Parameters) -> None:
    for name, harmless in NO_EFFECT.items():
        value = getattr(request, name, None)
        if value is not None and value not in harmless:
            raise unsupported(name)
    if request.prompt_logprobs is not None and request.stream:
        raise invalid("'prompt_logprobs' cannot be streamed; 'echo' with 'logprobs' can.", "prompt_logprobs")
    if request.stream_options is not None and not request.stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is true.", "stream_options")
