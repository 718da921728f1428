"""The prompts of plain completions: texts, token ids, and what stands before a gap that the model fills."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from functools import partial
from typing import TypeGuard

from stoker.serve.generate.detokenizing import Detokenizer
from stoker.serve.generate.sequence import Echo
from stoker.serve.http.errors import invalid, unsupported
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.requests import CompletionRequest
from stoker.serve.request.sampling import keeps_end, truncated
from stoker.serve.request.tokenizing import Tokenizer

# What models that fill gaps were trained with: before, after, and the gap itself (Qwen, StarCoder, Code Llama;
# Codestral has its own order and is not among them).
_GAPS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)

_MANY_TOKENS = 512  # to find where they begin takes some milliseconds


def prompt_count(prompt: str | Sequence[object]) -> int:
    """How many there are, before any is looked at."""
    return 1 if isinstance(prompt, str) or isinstance(prompt[0], int) else len(prompt)


async def prompts_of(request: CompletionRequest, frontend: Frontend) -> list[list[int]]:
    """ApiError naming what is wrong. One list of ids for each prompt."""
    return [truncated(ids, request, frontend.context) for ids in await _prompts(request, frontend)]


async def _prompts(request: CompletionRequest, frontend: Frontend) -> list[list[int]]:
    prompt, special = request.prompt, request.add_special_tokens is not False
    left = keeps_end(request)
    if request.suffix:
        return [await _around_gap(prompt, request.suffix, frontend)]
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        return [await _prompt(prompt, "prompt", frontend, special=special, left=left)]
    texts = [entry for entry in prompt if isinstance(entry, str)]
    most = frontend.context.length
    tokenizer = frontend.tokenizer
    encoded = iter(await tokenizer.encode_all(texts, add_special_tokens=special, most=most, left=left))
    named = [(entry, f"prompt[{index}]") for index, entry in enumerate(prompt)]
    return [
        _filled(next(encoded) if isinstance(entry, str) else _given(entry, where, frontend), where)
        for entry, where in named
    ]


async def _around_gap(prompt: object, suffix: str, frontend: Frontend) -> list[int]:
    tokenizer = frontend.tokenizer
    if not isinstance(prompt, str):
        raise invalid("With 'suffix', the prompt is one text.", "prompt", "invalid_type")
    marks = next((ids for ids in map(tokenizer.ids_of, _GAPS) if ids is not None), None)
    if marks is None:
        raise unsupported("suffix", "This model was not trained to fill gaps: its tokenizer has no marks for them.")
    most = frontend.context.length
    before, after = await tokenizer.encode_all((prompt, suffix), add_special_tokens=False, most=most)
    return [marks[0], *before, marks[1], *after, marks[2]]


async def _prompt(entry: object, where: str, frontend: Frontend, *, special: bool, left: bool) -> list[int]:
    if not isinstance(entry, str):
        return _filled(_given(entry, where, frontend), where)
    most = frontend.context.length
    return _filled(await frontend.tokenizer.encode(entry, add_special_tokens=special, most=most, left=left), where)


def _filled(ids: list[int], where: str) -> list[int]:
    if not ids:
        raise invalid("The prompt is empty.", where)
    return ids


def _given(entry: object, where: str, frontend: Frontend) -> list[int]:
    if not isinstance(entry, list):
        raise invalid("A prompt is a text, token ids, or a list of either, not mixed.", where, "invalid_type")
    return embedded_ids(entry, where, frontend)


def embedded_ids(ids: Sequence[object], where: str, frontend: Frontend) -> list[int]:
    """ApiError naming the one that is no token id, or one that the model has no embedding for."""
    checked = checked_ids(ids, where, max(frontend.vocabulary_size, frontend.tokenizer.size))
    beyond = next((index for index, id_ in enumerate(checked) if id_ >= frontend.vocabulary_size), 0)
    check_embedded(checked, f"{where}[{beyond}]", frontend)
    return checked


def checked_ids(ids: Sequence[object], where: str, size: int) -> list[int]:
    """ApiError naming the one that is no token id below `size`."""
    if _are_numbers(ids) and min(ids) >= 0 and max(ids) < size:
        return ids
    for index, token_id in enumerate(ids):
        if type(token_id) is not int:
            raise invalid("Token ids and texts cannot be mixed.", f"{where}[{index}]", "invalid_type")
        if not 0 <= token_id < size:
            raise invalid(f"Token ids are 0 to {size - 1}, not {token_id}."[:200], f"{where}[{index}]")
    return []


def _are_numbers(ids: Sequence[object]) -> TypeGuard[list[int]]:
    return set(map(type, ids)) == {int}


def check_embedded(ids: Sequence[int], where: str, frontend: Frontend) -> None:
    """ApiError naming the first token that the tokenizer has and the model has no embedding for."""
    if fault := unembedded(ids, frontend):
        raise invalid(fault, where)


def unembedded(ids: Sequence[int], frontend: Frontend) -> str:
    """What is wrong with the first id beyond the embedding; empty where there is none."""
    size = frontend.vocabulary_size
    if not ids or max(ids) < size:
        return ""
    first = next(id_ for id_ in ids if id_ >= size)
    text = frontend.tokenizer.decode_all([first])
    return f"The model has no embedding for the tokenizer's token {text!r} (id {first}): ids are 0 to {size - 1}."


async def echoes(request: CompletionRequest, prompts: list[list[int]], tokenizer: Tokenizer) -> list[Echo] | None:
    """What is said again of each prompt before its completion; None where nothing is."""
    if not request.echo:
        return None
    many = sum(map(len, prompts)) > _MANY_TOKENS and request.logprobs is not None
    work = partial(_echoes, request, prompts, tokenizer)
    return await asyncio.to_thread(work) if many else work()


def _echoes(request: CompletionRequest, prompts: list[list[int]], tokenizer: Tokenizer) -> list[Echo]:
    given = request.prompt
    texts: Sequence[object] = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    return [_echo(text, ids, request, tokenizer) for text, ids in zip(texts, prompts, strict=True)]


def _echo(given: object, ids: list[int], request: CompletionRequest, tokenizer: Tokenizer) -> Echo:
    """The text as it was given, unless a part of its tokens was cut off."""
    whole = request.truncate_prompt_tokens is None
    text = given if whole and isinstance(given, str) else tokenizer.decode(ids)
    return Echo(text) if request.logprobs is None else Echo(text, ids, _offsets(ids, text, tokenizer), request.logprobs)


def _offsets(ids: list[int], text: str, tokenizer: Tokenizer) -> array[int]:
    """Where each token begins; a tokenizer that changes texts may be off, but not beyond the end."""
    detokenizer = Detokenizer(tokenizer)
    offsets, at = array("q"), 0
    for id_ in ids:
        offsets.append(min(at, len(text)))
        at += len(detokenizer.feed((id_,)))
    return offsets
