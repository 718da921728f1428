"""docs/dropin.md: what becomes of the flags, endpoints and fields that people bring from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from stoker.kinds import text_kinds
from stoker.plan.types import TEXT
from stoker.serve.apis.anthropic import requests as anthropic
from stoker.serve.apis.ollama import requests as ollama
from stoker.serve.apis.openai_responses import requests as responses
from stoker.serve.request.requests import HARMLESS, NO_EFFECT, ChatRequest, CompletionRequest
from stoker.settings.foreign import NOT_NEEDED, VLLM
from stoker.settings.nim_reading import Idle, Taken
from stoker.settings.nim_variables import OFF, ON, VARIABLES

_HEAD = """# Coming from elsewhere

Written by `make docs` from the code. What a request may say is in [api.md](api.md) and [support.md](support.md).

A field that nobody knows is passed over: the answer's `Warning` header names it, `stoker_ignored_fields_total` counts
it, and `--unknown-fields reject` refuses it. A field that is null is as if it were absent.

## vLLM

Same paths: `/v1/*`, `/health`, `/ping`, `/load`, `/version`, `/metrics` ([names](metrics.md)), `/tokenize`,
`/detokenize`. Sampling defaults are those of the model's generation_config.json, as there.

| flag of `vllm serve` | here |
|---|---|
"""
_FIELDS = """
| field of a request | here |
|---|---|
"""
_NIM = """
## NVIDIA NIM

Its variables (1.x and 2.x) are a layer of settings: flags and `STOKER_*` variables win over them, and they win over the
file. `stoker plan` shows which variable a value came from. Those without effect are named in one warning at the start,
with what to use instead. `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HTTPS_PROXY` and `SSL_CERT_FILE` mean what they
mean there; `NGC_API_KEY` and other keys of NGC are not needed.

| command | here |
|---|---|
| `list-model-profiles` (`-m FILE`, `--json`) | the profiles that suit this machine, and why not the others |
| `download-to-cache` | builds or fetches the engine of the best profile; of those named (`-p`), of all (`--all`) |
| `download-to-cache --model-uri hf://org/name` | downloads the model alone; `--manifest-file FILE` then names it |
| `create-model-store --model-repo URI --model-store DIR` | a directory of the model's files, to be served by its path |
| `create-model-store --profile NAME --model-store DIR` | the engine of that profile, as `stoker export` writes it |
| `nim-serve`, `nim-run` | `stoker serve` |
| `nim-serve-ray --head`, `nim-serve-ray --head-address HOST:PORT` | `stoker serve` as node 0, or with `--leader HOST` |

In the images each is a command by its bare name too. NIM's operator runs a `NIMCache` and a `NIMService` of our images
as it does its own: they have no manifest, so a `NIMCache` takes its model from the hub (`source: hf`), with our image
as `modelPuller`; the `NIMService` then serves it from the volume, and is known by its first served name.

| variable | here |
|---|---|
"""
_OLLAMA = """
## Ollama

`/api/chat`, `/api/generate`, `/api/embed`, `/api/embeddings`, `/api/tags`, `/api/show`, `/api/ps` and `/api/version`
are [served](api.md#ollama). Where a request says nothing, the model's own sampling defaults hold, not Ollama's.

| option | here |
|---|---|
"""
_MEANT = {
    "num_predict": "`max_tokens`, as a limit; -1, -2 and 0 set none",
    "repeat_penalty": "`repetition_penalty`, over the whole text",
    "repeat_last_n": "0 turns `repeat_penalty` off; others get a `Warning`: the whole text counts",
    "seed": "`seed`; -1 is random",
}
_ANTHROPIC = """
## Anthropic's API, and Claude Code

    export ANTHROPIC_BASE_URL=http://HOST:8000 ANTHROPIC_AUTH_TOKEN=KEY
    export ANTHROPIC_MODEL=MODEL ANTHROPIC_SMALL_FAST_MODEL=MODEL
    claude

Beta headers and `?beta=true` are taken. `max_tokens` is a limit: an answer that may be longer than the context holds
ends with the context (`stop_reason` is then `model_context_window_exceeded`). Claude Code's own prompt and tools are
about 80 kB of text, some 20,000 tokens: serve a model with a context of 32,768 tokens or more.

| field of `/v1/messages` | here |
|---|---|
"""
_BLOCKS = """
| block of a message | here |
|---|---|
"""
_RESPONSES = """
## OpenAI's Responses API, and Codex

In Codex's `config.toml`:

    model = "MODEL"
    model_provider = "stoker"
    [model_providers.stoker]
    name = "stoker"
    base_url = "http://HOST:8000/v1"
    wire_api = "responses"
    env_key = "STOKER_KEY"  # where the server has API keys

| field of `/v1/responses` | here |
|---|---|
"""
_TOOLS = """
| type of a tool | here |
|---|---|
| `function` | served |
| `namespace` | served: its functions are shown to the model as `NAMESPACE__NAME` |
| `custom` | served, as a function of one text; `format` may be `text` alone |
| `web_search`, `mcp` and all others | passed over with a `Warning` beside tools of the types above; alone: 400 |
"""
_CLIENTS = """
## Clients that tests run

`make test-clients` runs these against a server; what Open WebUI asks is replayed.

| client | version |
|---|---|
"""
_ROOT = Path(__file__).parents[1]
_NO_CLIENTS = ("httpx", "hypothesis", "networkx", "pytest", "sympy")
_OURS = "served"


def document() -> str:
    vllm = [_HEAD, *_flags(), _FIELDS, *_fields()]
    theirs = [_NIM, *_variables(), _OLLAMA, *_options(), _ANTHROPIC, *_messages(), _BLOCKS, *_blocks()]
    return "".join([*vllm, *theirs, _RESPONSES, *_responses(), _TOOLS, _CLIENTS, *_clients()])


def _flags() -> Iterator[str]:
    for name, ours in sorted(VLLM.items()):
        yield f"| `--{name}` | {f'`{ours}`' if ours.startswith('--') else ours} |\n"
    for name, why in sorted(NOT_NEEDED.items()):
        yield f"| `--{name}` | leave it out: {why} |\n"


def _fields() -> Iterator[str]:
    for name in sorted({*ChatRequest.__struct_fields__, *CompletionRequest.__struct_fields__}):
        yield f"| `{name}` | {_what(name)} |\n"


def _what(name: str) -> str:
    if name in HARMLESS or name in NO_EFFECT:
        return _without_effect(name, HARMLESS, NO_EFFECT)
    lacking = [kind.name for kind in text_kinds() if name in kind.launch.capabilities(TEXT).lacks]
    return f"{_OURS}, but not by {', '.join(f'`{kind}`' for kind in lacking)}" if lacking else _OURS


def _without_effect(name: str, harmless: Sequence[str], values: Mapping[str, Sequence[Any]]) -> str:
    if name in harmless:
        return "accepted, changes nothing"
    taken = ", ".join(f"`{value}`" for value in values[name])
    return f"only null{f', {taken}' if taken else ''}: else 400"


def _variables() -> Iterator[str]:
    taken = [(name, what) for name, what in VARIABLES.items() if isinstance(what, Taken)]
    idle = [(name, what) for name, what in VARIABLES.items() if isinstance(what, Idle)]
    for name, mapped in taken:
        yield f"| `{name}` | {mapped.ours} |\n"
    for name, other in sorted(idle, key=lambda pair: pair[0]):
        yield f"| `{name}` | {_idle(other)}: {other.instead} |\n"


def _idle(idle: Idle) -> str:
    """For which values a warning says so."""
    if not idle.same or set(idle.same) >= {*ON, *OFF}:
        return "no effect"
    if idle.same in (ON, OFF):
        return f"no effect where it is {'off' if idle.same == ON else 'on'}"
    return f"no effect, other than {' or '.join(f'`{value}`' for value in idle.same)}"


def _options() -> Iterator[str]:
    for name in sorted(ollama.Options.__struct_fields__):
        yield f"| `{name}` | {_option(name)} |\n"


def _option(name: str) -> str:
    if name in ollama.SETTLED:
        return "accepted, changes nothing: the server settles it when it starts"
    if name not in ollama.NO_EFFECT:
        return _MEANT.get(name, f"`{name}`")
    harmless = ollama.NO_EFFECT[name]
    if harmless is None:
        return "accepted, changes nothing"
    return f"only null, {', '.join(f'`{value:g}`' for value in harmless)}: else 400"


def _messages() -> Iterator[str]:
    refused: dict[str, Sequence[Any]] = dict.fromkeys(anthropic.UNSUPPORTED, ())
    for name in sorted(anthropic.MessagesRequest.__struct_fields__):
        known = name in anthropic.HARMLESS or name in refused
        yield f"| `{name}` | {_without_effect(name, anthropic.HARMLESS, refused) if known else _OURS} |\n"


def _blocks() -> Iterator[str]:
    for block in get_args(anthropic.Block):
        tag = block.__struct_config__.tag
        passed = "passed over" if block is anthropic.RedactedThinking else _OURS
        yield f"| `{tag}` | {'400, also within `tool_result`' if issubclass(block, anthropic.Unread) else passed} |\n"


def _responses() -> Iterator[str]:
    values = responses.NO_EFFECT | dict.fromkeys(responses.UNSUPPORTED, ())
    for name in sorted(responses.ResponsesRequest.__struct_fields__):
        known = name in responses.HARMLESS or name in values
        yield f"| `{name}` | {_without_effect(name, responses.HARMLESS, values) if known else _OURS} |\n"


def _clients() -> Iterator[str]:
    wanted = (_ROOT / "tools" / "locks" / "clients.in").read_text()
    lock = (_ROOT / "tools" / "locks" / "clients.lock").read_text()
    for name in re.findall(r"^([a-z][\w-]*)", wanted, re.MULTILINE):
        if name not in _NO_CLIENTS:
            versions = re.findall(rf"^{name}(?:\[[^]]*\])?==(\S+)", lock, re.MULTILINE)
            yield f"| {name} | {versions[-1]} |\n"
    package = json.loads((_ROOT / "tests" / "clients" / "node" / "package.json").read_text())
    for name, version in package["dependencies"].items():
        yield f"| {name} | {version} |\n"
