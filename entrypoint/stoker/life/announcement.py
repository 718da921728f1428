"""What a server says once it is ready: where it is, and how to try it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from stoker.plan.types import EMBEDDING, RERANK, Chosen

_EVERYWHERE = ("://0.0.0.0:", "://[::]:")  # addresses to listen on, not to ask


def announcement(chosen: Chosen, names: Sequence[str], url: str, *, chat: bool, keyed: bool) -> Iterator[str]:
    """`chat`: the model has a chat template. `keyed`: requests need an API key."""
    yield f"serving {names[0]} ({chosen.engine}, {chosen.precision}) at {url}"
    here = url
    for address in _EVERYWHERE:
        here = here.replace(address, "://127.0.0.1:")
    yield f"page: {here}/"
    path, body = _example(chosen.purpose, names[0], chat=chat)
    key = ' -H "Authorization: Bearer $STOKER_API_KEY"' if keyed else ""
    untrusted = " -k" if here.startswith("https:") else ""
    yield f"try: curl{untrusted} {here}{path} -H 'Content-Type: application/json'{key} -d '{json.dumps(body)}'"


def _example(purpose: str, model: str, *, chat: bool) -> tuple[str, dict[str, object]]:
    if purpose == EMBEDDING:
        return "/v1/embeddings", {"model": model, "input": "Hello"}
    if purpose == RERANK:
        return "/v1/rerank", {"model": model, "query": "fruit", "documents": ["an apple", "a car"]}
    if chat:
        return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return "/v1/completions", {"model": model, "prompt": "Once", "max_tokens": 32}
