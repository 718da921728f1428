"""The body of /v1/responses, as OpenAI defines it: parsed strictly, nothing silently ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Status = Literal["in_progress", "completed", "incomplete"]
Parts = Annotated[list[dict[str, object]], Meta(max_length=1024)]


class Item(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Any of the kinds of item; which fields belong to which is checked when it is read."""

    type: Literal[
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "reasoning",
    ] = "message"
    id: str | None = None
    status: Status | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | Parts | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | Parts | None = None
    summary: Parts | None = None
    encrypted_content: str | None = None
    phase: str | None = None


class ClientTool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of other types than function and custom only the type is looked at, to say that nothing here runs them."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None
    format: dict[str, object] | None = None
    # change nothing
    allowed_callers: object = None
    defer_loading: object = None
    output_schema: object = None


class Tool(ClientTool, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tools`: those of a namespace."""

    tools: list[ClientTool] | None = None


class Format(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, object] | None = None
    strict: bool | None = None


class TextConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: str | None = None
    generate_summary: str | None = None


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    include_obfuscation: bool | None = None


class ResponsesRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    input: str | Annotated[list[Item], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: object = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    truncation: Literal["disabled", "auto"] | None = None
    # change nothing
    include: list[str] | None = None
    metadata: dict[str, object] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    prompt_cache_options: object = None
    context_management: object = None
    max_tool_calls: object = None
    client_metadata: object = None
    background: Literal[False] | None = None
    # not supported
    access_programs: object = None
    background_options: object = None
    conversation: object = None
    image: object = None
    moderation: object = None
    prompt: object = None
    top_logprobs: Annotated[int, Meta(ge=0, le=0)] | None = None


# They change nothing, whatever they say.
HARMLESS = (
    *("include", "metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("service_tier", "prompt_cache_options", "context_management", "max_tool_calls", "client_metadata"),
    "truncation",  # what is too long is refused, not cut
)

# The values that ask for nothing; null always does.
NO_EFFECT: dict[str, tuple[object, ...]] = {"background": (False,), "top_logprobs": (0,)}

UNSUPPORTED = ("access_programs", "background_options", "conversation", "image", "moderation", "prompt")
