"""Which of OpenAI's parameters are supported, on which engine: the table in docs/support.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from stoker.launch.capabilities import GUIDES, PROMPT_LOG_PROBS, TOP_LOG_PROBS
from stoker.serve.apis.pooled.requests import EmbeddingRequest, RankingRequest, RerankRequest, Truncating
from stoker.serve.request.requests import HARMLESS, NO_EFFECT, ChatRequest, CompletionRequest

# Values of OpenAI's own parameters that are refused, where others are taken; and why.
PARTLY = {
    "top_logprobs": "0 only where the engine reports just the sampled token's log probability",
    "logprobs": "chat: true or false; plain completions: as `top_logprobs`, and 1",
    "reasoning_effort": "no effect (and a `Warning`) where the model's chat template does not know it",
    "chat_template": "the name of one of the model's own templates",
    "continue_final_message": "the assistant's, with a text",
    "suffix": "where the model's tokenizer has marks for a gap",
    "tools": "functions, where the model's chat template shows them; `strict` with `tool_choice` auto: see api.md",
    "best_of": "not with `stream`",
    "echo": "with `logprobs` only where the engine reports the log probabilities of prompts",
    "max_tokens": "0 in plain completions only",
    "prompt_logprobs": "not with `stream`",
}
# Parameters of which only a part needs what an engine may lack.
_NEEDED_IN_PART = {TOP_LOG_PROBS: TOP_LOG_PROBS, "echo": PROMPT_LOG_PROBS}
POOLED: Mapping[str, type[Truncating]] = {
    "`/v1/embeddings`": EmbeddingRequest,
    "`/v1/rerank`": RerankRequest,
    "`/v1/ranking`": RankingRequest,
}
_POOLED_NOTES = {
    "dimensions": "up to the model's own; of length 1 again where the model's vectors are",
    "input_type": "query, passage or document: the model's own prompt of that name, if it has one, goes before texts",
    "truncate": "NONE, START or END, as NIM has it",
    "truncate_prompt_tokens": "how many of a text's tokens are kept; -1 for as many as there may be",
}
_GUIDED = ("response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs")
YES, NO, PART, IDLE = "yes", "400", "in part", "no effect"


@dataclass(frozen=True)
class Column:
    """An engine kind in the table: what it lacks (stoker.launch.capabilities), and how it was tested, in a sentence."""

    name: str
    lacks: frozenset[str]
    evidence: str


def support(parameter: str, lacks: Set[str]) -> str:
    """One of the four words, for an engine that `lacks` these. A value of a parameter that is not supported is refused
    by name, never ignored."""
    if parameter in _NEEDED_IN_PART:
        return PART if _NEEDED_IN_PART[parameter] in lacks else YES
    if parameter in lacks or (parameter in _GUIDED and GUIDES in lacks):
        return NO
    if parameter in HARMLESS:
        return IDLE
    if parameter in NO_EFFECT:
        return IDLE if parameter == "guided_decoding_backend" else NO
    return PART if parameter in PARTLY else YES


def parameters() -> list[str]:
    """Of both endpoints, as they are declared."""
    return list(dict.fromkeys([*ChatRequest.__struct_fields__, *CompletionRequest.__struct_fields__]))


def document(columns: Sequence[Column]) -> str:
    """The whole page; `columns` are the kinds that generate text."""
    rows = [_row(parameter, columns) for parameter in sorted(parameters())]
    pooled = [_pooled_row(parameter) for parameter in sorted(pooled_parameters())]
    evidence = [f"- `{column.name}`: {column.evidence}." for column in columns]
    head = _head(column.name for column in columns)
    return "\n".join([*_INTRODUCTION, *evidence, "", head, *rows, *_POOLED_INTRODUCTION, _head(POOLED), *pooled, ""])


def _head(columns: Iterable[str]) -> str:
    names = tuple(columns)
    return f"| parameter | {' | '.join(names)} | |\n|---|{'---|' * len(names)}---|"


def pooled_parameters() -> list[str]:
    """Of the endpoints for vectors and scores."""
    return list(dict.fromkeys(name for request in POOLED.values() for name in request.__struct_fields__))


def _pooled_row(parameter: str) -> str:
    taken = IDLE if parameter == "user" else YES
    cells = " | ".join(taken if parameter in request.__struct_fields__ else NO for request in POOLED.values())
    return f"| `{parameter}` | {cells} | {_POOLED_NOTES.get(parameter, '')} |"


def _row(parameter: str, columns: Sequence[Column]) -> str:
    cells = " | ".join(support(parameter, column.lacks) for column in columns)
    return f"| `{parameter}` | {cells} | {PARTLY.get(parameter, '')} |"


_INTRODUCTION = (
    "# Support",
    "",
    "Every parameter of `/v1/chat/completions` and `/v1/completions`, on each kind of engine. `400`: a value that asks",
    "for something is refused by name; `no effect`: taken, and changes nothing; `in part`: see the last column. What",
    "is not listed is refused.",
    "`required` and named `tool_choice`, and `strict` tools, need what `response_format` needs.",
    "",
    "Made by `make docs`; a test walks the request types of the installed openai SDK and fails on a parameter that is",
    "neither supported nor refused by name. The kinds:",
    "",
)

_POOLED_INTRODUCTION = (
    "",
    "## Vectors and scores",
    "",
    "Of embedding models and rerankers; the other endpoints are a 400 there that says what the model is for.",
    "",
)
