"""What Dynamo's process learns about the engine, once, before it registers it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from stoker.fleet.dynamo.process import MODEL
from stoker.serve.answer.parsers.families import FAMILIES, Family
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.chat_template import ChatTemplate

# Ours, and what Dynamo calls the same form.
_TOOL_PARSERS = {
    "hermes": "hermes",
    "mistral": "mistral",
    "llama": "llama3_json",
    "phi4": "phi4",
    "pythonic": "pythonic",
}
_PLANES = {"discovery_backend": "DYN_DISCOVERY_BACKEND", "request_plane": "DYN_REQUEST_PLANE"}


@dataclass(frozen=True)
class Facts:
    """`directory` has the model's tokenizer, template and configuration, as Dynamo's process sees it. `blocks` of the
    KV cache have `block_tokens` tokens each; `reuses`: the engine keeps them for prompts that begin alike. `planes`:
    settings of Dynamo's Worker that the environment names."""

    namespace: str
    name: str
    directory: str
    context: int
    blocks: int
    block_tokens: int
    sequences: int
    step_tokens: int
    reuses: bool
    endpoints: str = "chat,completions"
    component: str = "backend"
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    planes: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        return {**asdict(self), "planes": dict(self.planes)}


def facts_of(
    namespace: str,
    frontend: Frontend,
    step_tokens: int,
    *,
    reuses: bool,
    environ: Mapping[str, str] = os.environ,
) -> Facts:
    capacity = frontend.capacity
    chats = isinstance(frontend.chat_template, ChatTemplate)
    return Facts(
        namespace=namespace,
        name=frontend.names[0],
        directory=MODEL,
        context=frontend.context.length,
        blocks=capacity.blocks,
        block_tokens=capacity.block_tokens,
        sequences=frontend.max_batch_size,
        step_tokens=step_tokens,
        reuses=reuses and capacity.blocks > 0,
        endpoints="chat,completions" if chats else "completions",
        component=environ.get("DYN_COMPONENT", "backend"),
        tool_parser=_tool_parser(frontend.tool_family),
        reasoning_parser=environ.get("DYN_REASONING_PARSER"),
        planes={name: environ[variable] for name, variable in _PLANES.items() if variable in environ},
    )


def _tool_parser(family: Family | None) -> str | None:
    name = next((name for name, one in FAMILIES.items() if one is family), "")
    return _TOOL_PARSERS.get(name)
