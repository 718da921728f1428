"""The body of /v1/messages, as Anthropic defines it: parsed strictly, nothing silently ignored.

`cache_control` is accepted and changes nothing: prefixes are cached without being asked to.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

_Stop = Annotated[str, Meta(min_length=1, max_length=1024)]


class Text(Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    text: str
    cache_control: object = None
    citations: None = None


class ToolUse(Struct, frozen=True, forbid_unknown_fields=True, tag="tool_use"):
    id: str
    name: str
    input: dict[str, object]
    cache_control: object = None
    caller: object = None


class Unread(Struct, frozen=True, kw_only=True):
    """What no model here reads: declared to be refused by its type."""


class Image(Unread, frozen=True, tag="image"):
    pass


class Document(Unread, frozen=True, tag="document"):
    pass


class SearchResult(Unread, frozen=True, tag="search_result"):
    pass


class ToolReference(Unread, frozen=True, tag="tool_reference"):
    pass


class ToolResult(Struct, frozen=True, forbid_unknown_fields=True, tag="tool_result"):
    tool_use_id: str
    content: str | list[Text | Image | Document | SearchResult | ToolReference] | None = None
    is_error: bool | None = None
    cache_control: object = None


class Thinking(Struct, frozen=True, forbid_unknown_fields=True, tag="thinking"):
    thinking: str
    signature: str = ""


class RedactedThinking(Struct, frozen=True, forbid_unknown_fields=True, tag="redacted_thinking"):
    """Encrypted, and nothing here has the key: passed over."""

    data: str = ""


Block: TypeAlias = Text | ToolUse | ToolResult | Thinking | RedactedThinking | Image | Document | SearchResult


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """`system` also in the middle of a conversation, as Anthropic's newer models take it."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of other types than custom only the type is looked at, to say that nothing here runs them."""

    name: str
    input_schema: dict[str, object] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    cache_control: object = None


class ToolChoice(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: Literal["json_schema"]
    schema: dict[str, object]


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Prompt(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What creating a message and counting its tokens share."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    system: str | list[Text] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    cache_control: object = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    # change nothing
    context_management: object = None
    speed: object = None
    inference_geo: object = None
    diagnostics: object = None
    user_profile_id: object = None
    workspace_id: object = None
    # not supported
    mcp_servers: object = None


class MessagesRequest(Prompt, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    stop_sequences: Annotated[list[_Stop], Meta(max_length=16)] | None = None
    stream: bool | None = None
    # change nothing
    metadata: object = None
    service_tier: str | None = None
    # not supported
    container: object = None


class CountRequest(Prompt, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


UNSUPPORTED = ("mcp_servers", "container")

# They change nothing, whatever they say.
HARMLESS = (
    *("cache_control", "context_management", "speed", "inference_geo", "diagnostics", "user_profile_id"),
    *("workspace_id", "metadata", "service_tier"),
)
