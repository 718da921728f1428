"""From texts and token ids to what the engine is given, each as long as the model allows."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.serve.apis.pooled.requests import MOST_INPUTS, EmbeddingRequest, Truncating
from stoker.serve.http.errors import ApiError, invalid
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.prompts import check_embedded, embedded_ids
from stoker.serve.request.tokenizing import Cut, Input

_ALIASES = {"passage": ("passage", "document"), "document": ("document", "passage")}


async def embedding_inputs(request: EmbeddingRequest, frontend: Frontend) -> list[Input]:
    """One for each text. ApiError naming the one that is empty, too long, or no text."""
    entries = _entries(request.input)
    cut = _cut(request, frontend)
    names = [f"input[{index}]" for index in range(len(entries))] if isinstance(request.input, list) else ["input"]
    names = ["input"] if len(entries) == 1 and entries[0] is request.input else names
    prompt = _prompt(request.input_type, frontend)
    texts = [(prompt + entry, None) for entry in entries if isinstance(entry, str)]
    encoded = iter(await frontend.tokenizer.encode_inputs(texts, cut))
    found = [
        next(encoded) if isinstance(entry, str) else _given(entry, name, cut, frontend)
        for entry, name in zip(entries, names, strict=True)
    ]
    for entry, each, name in zip(entries, found, names, strict=True):
        if not entry:
            raise invalid("The input is empty.", name)
        _check_length(each, name, request, cut)
        check_embedded(each.ids, name, frontend)
    return found


async def pair_inputs(
    query: str, texts: Sequence[str], where: str, request: Truncating, frontend: Frontend
) -> list[Input]:
    """The query with each text. ApiError naming what is empty or too long; `where` is the texts' parameter."""
    if not query:
        raise invalid("The query is empty.", "query")
    cut = _cut(request, frontend)
    [alone] = await frontend.tokenizer.encode_inputs([(query, None)], cut)
    if alone.length > cut.most:
        raise _query_too_long(cut)
    found = await frontend.tokenizer.encode_inputs([(query, text) for text in texts], cut)
    for index, each in enumerate(found):
        _check_length(each, f"{where}[{index}]", request, cut)
        check_embedded(each.ids, f"{where}[{index}]", frontend)
    return found


def _entries(given: str | Sequence[object]) -> Sequence[object]:
    """Texts, or lists of ids: a list of plain ids is one input."""
    entries: Sequence[object] = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if len(entries) > MOST_INPUTS:
        raise invalid(f"More than {MOST_INPUTS} inputs in one request.", "input")
    return entries


def _prompt(input_type: str | None, frontend: Frontend) -> str:
    pooling = frontend.pooling
    if pooling is None:
        return ""
    names: Sequence[str] = (pooling.default_prompt,)
    if input_type is not None:
        names = _ALIASES.get(input_type, (input_type,))
    return next((pooling.prompts[name] for name in names if name in pooling.prompts), "")


def _given(entry: object, name: str, cut: Cut, frontend: Frontend) -> Input:
    if not isinstance(entry, list):
        raise invalid("An input is a text, token ids, or a list of either, not mixed.", name, "invalid_type")
    ids = embedded_ids(entry, name, frontend)
    kept = ids[-cut.most :] if cut.left else ids[: cut.most]
    return Input(kept, [], len(ids))


def _cut(request: Truncating, frontend: Frontend) -> Cut:
    context = frontend.context
    limit = min(context.length, context.longest_prompt or context.length)
    requested = request.truncate_prompt_tokens
    if requested is not None and requested > limit:
        raise invalid(f"Inputs may have {limit} tokens here, not {requested}.", "truncate_prompt_tokens")
    if requested == 0:
        raise invalid("No token would be left.", "truncate_prompt_tokens")
    return Cut(requested if requested is not None and requested > 0 else limit, left=request.truncate == "START")


def _query_too_long(cut: Cut) -> ApiError:
    text = f"Not even without the document are these {cut.most} tokens or less, which is all that there may be."
    return invalid(text, "query", "context_length_exceeded")


def _check_length(found: Input, name: str, request: Truncating, cut: Cut) -> None:
    requested = request.truncate in ("START", "END") or request.truncate_prompt_tokens is not None
    if len(found.ids) > cut.most:
        raise _query_too_long(cut)
    if found.length > cut.most and not requested:
        text = (
            f"This model's maximum context length is {cut.most} tokens. However, your input resulted in {found.length} "
            "tokens. Please reduce its length, or say 'truncate': 'END'."
        )
        raise invalid(text, name, "context_length_exceeded")
