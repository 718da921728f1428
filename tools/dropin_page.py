"""docs/dropin.md: what becomes of the flags, endpoints and fields that people bring from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.kinds import text_kinds
from stoker.plan.types import TEXT
from stoker.serve.apis.anthropic.requests import UNSUPPORTED as ANTHROPIC
from stoker.serve.apis.ollama import requests as ollama
from stoker.serve.apis.openai_responses.requests import UNSUPPORTED as RESPONSES
from stoker.serve.request.requests import HARMLESS, NO_EFFECT, ChatRequest, CompletionRequest
from stoker.settings.foreign import NOT_NEEDED, VLLM
from stoker.settings.nim_reading import Idle, Taken
from stoker.settings.nim_variables import VARIABLES

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

In the images each is a command by its bare name too, as NIM's operator runs them.

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
_OTHERS = """
## Anthropic's and OpenAI's other APIs

| API | refused by name |
|---|---|
"""
_OURS = "served"


def document() -> str:
    return "".join(
        [_HEAD, *_flags(), _FIELDS, *_fields(), _NIM, *_variables(), _OLLAMA, *_options(), _OTHERS, *_others()]
    )


def _flags() -> Iterator[str]:
    for name, ours in sorted(VLLM.items()):
        yield f"| `--{name}` | {f'`{ours}`' if ours.startswith('--') else ours} |\n"
    for name, why in sorted(NOT_NEEDED.items()):
        yield f"| `--{name}` | leave it out: {why} |\n"


def _fields() -> Iterator[str]:
    for name in sorted({*ChatRequest.__struct_fields__, *CompletionRequest.__struct_fields__}):
        yield f"| `{name}` | {_what(name)} |\n"


def _what(name: str) -> str:
    if name in HARMLESS:
        return "accepted, changes nothing"
    if name not in NO_EFFECT:
        lacking = [kind.name for kind in text_kinds() if name in kind.launch.capabilities(TEXT).lacks]
        return f"{_OURS}, but not by {', '.join(f'`{kind}`' for kind in lacking)}" if lacking else _OURS
    taken = ", ".join(f"`{value}`" for value in NO_EFFECT[name])
    return f"only null{f', {taken}' if taken else ''}: else 400"


def _variables() -> Iterator[str]:
    taken = [(name, what) for name, what in VARIABLES.items() if isinstance(what, Taken)]
    idle = [(name, what) for name, what in VARIABLES.items() if isinstance(what, Idle)]
    for name, mapped in taken:
        yield f"| `{name}` | {mapped.ours} |\n"
    for name, other in sorted(idle, key=lambda pair: pair[0]):
        same = f" (no warning for {', '.join(f'`{value}`' for value in other.same)})" if other.same else ""
        yield f"| `{name}` | no effect: {other.instead}{same} |\n"


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


def _others() -> Iterator[str]:
    for api, names in (("`/v1/messages`", ANTHROPIC), ("`/v1/responses`", RESPONSES)):
        yield f"| {api} | {', '.join(f'`{name}`' for name in sorted(names))} |\n"
