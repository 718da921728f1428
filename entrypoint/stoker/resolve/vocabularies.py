"""The tokens of a tokenizer.json, and whether two models speak of the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stoker.errors import DamagedModelError, UsageError
from stoker.resolve.checkpoint import TOKENIZER
from stoker.resolve.json_files import read_json
from stoker.resolve.model import Model
from stoker.resolve.numbers import shown


def check_same_tokenizer(model: Model, draft: Model) -> None:
    """UsageError where tokenizer.json of both says that they differ in some id."""
    own, other = token_ids(model.directory), token_ids(draft.directory)
    wrong = next((token for token in own if other.get(token) != own[token]), None) if own and other else None
    if wrong is not None:
        raise UsageError(
            f"{draft.served_name} cannot draft for {model.served_name}",
            why=f"their tokenizers differ: {wrong!r} is {own[wrong]} in one and {other.get(wrong)} in the other",
            remedy="use a smaller model of the same family, with the same tokenizer",
        )


def token_ids(directory: Path | None) -> Mapping[str, int]:
    """By token, added tokens included; empty where there is no tokenizer.json, or one that lists no vocabulary.
    DamagedModelError names an entry that is neither a token nor its id."""
    path = directory / TOKENIZER if directory is not None else None
    if path is None or not path.is_file():
        return {}
    document = read_json(path, strict=False)
    vocabulary = dict(_vocabulary(document.get("model"), path))
    return {**vocabulary, **dict(added_tokens(document, path))} if vocabulary else {}


def added_tokens(document: Mapping[str, object], path: Path) -> Iterator[tuple[str, int]]:
    """Those beside the vocabulary, with their ids. DamagedModelError as of `token_ids`."""
    entries = document.get("added_tokens") or []
    if not isinstance(entries, list):
        raise _damaged(path, "added_tokens", entries)
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise _damaged(path, f"added_tokens[{index}]", entry)
        yield _entry(entry.get("content"), entry.get("id"), path, "added_tokens", index)


def _vocabulary(model: object, path: Path) -> Iterator[tuple[str, int]]:
    """A mapping from tokens to ids or, of Unigram, a list of tokens and their scores."""
    if not isinstance(model, Mapping):
        raise _damaged(path, "model", model)
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, Mapping):
        for token, number in vocabulary.items():
            yield _entry(token, number, path, "model.vocab", token)
        return
    if not isinstance(vocabulary, list):
        raise _damaged(path, "model.vocab", vocabulary)
    for index, pair in enumerate(vocabulary):
        if not isinstance(pair, list) or not pair:
            raise _damaged(path, f"model.vocab[{index}]", pair)
        yield _entry(pair[0], index, path, "model.vocab", index)


def _entry(token: object, number: object, path: Path, table: str, place: object) -> tuple[str, int]:
    """`place` in the table is put into words only where it is wrong: there are some hundred thousand entries."""
    if not isinstance(token, str) or type(number) is not int or number < 0:
        raise _damaged(path, f"{table}[{shown(place)}]", (token, number))
    return token, number


def _damaged(path: Path, where: str, value: object) -> DamagedModelError:
    return DamagedModelError(
        f"{path} is damaged",
        why=f"{where} is {shown(value)}, not a token and its id",
        remedy="fetch or copy the file again",
    )
