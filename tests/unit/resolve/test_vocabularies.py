"""The tokens of a tokenizer.json: every published form, and a clear error for entries that make no sense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import DamagedModelError, UsageError
from stoker.progress import Silent
from stoker.resolve.fitting import fitting_of
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.model import Model
from stoker.resolve.resolve import resolve
from stoker.resolve.vocabularies import check_same_tokenizer, token_ids

BPE = {"type": "BPE", "vocab": {"a": 0, "b": 1}}
ADDED = [{"id": 2, "content": "<s>", "special": True}]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return resolve("demo", tmp_path_factory.mktemp("cache"), Silent())


def written(directory: Path, document: Any) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(document))
    return directory


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"model": BPE, "added_tokens": ADDED}, {"a": 0, "b": 1, "<s>": 2}),
        ({"model": BPE}, {"a": 0, "b": 1}),
        ({"model": BPE, "added_tokens": None}, {"a": 0, "b": 1}),
        ({"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5]]}}, {"<unk>": 0, "a": 1}),
        ({"model": {"type": "other"}, "added_tokens": ADDED}, {}),
    ],
)
def test_tokens_and_their_ids(document: Any, found: dict[str, int], tmp_path: Path) -> None:
    assert token_ids(written(tmp_path, document)) == found


def test_nothing_is_known_without_the_file(tmp_path: Path) -> None:
    assert token_ids(None) == {}
    assert token_ids(tmp_path) == {}


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({}, "model is None"),
        ({"model": ["x"]}, "model is "),
        ({"model": {"vocab": "a b"}}, "model.vocab is "),
        ({"model": {"vocab": {"a": "0"}}}, "model.vocab['a'] is ('a', '0')"),
        ({"model": {"vocab": {"a": True}}}, "model.vocab['a'] is "),
        ({"model": {"vocab": {"a": -1}}}, "model.vocab['a'] is "),
        ({"model": {"vocab": [["a", 0.0], []]}}, "model.vocab[1] is "),
        ({"model": {"vocab": [[7, 0.0]]}}, "model.vocab[0] is "),
        ({"model": BPE, "added_tokens": {"<s>": 2}}, "added_tokens is "),
        ({"model": BPE, "added_tokens": ["<s>"]}, "added_tokens[0] is "),
        ({"model": BPE, "added_tokens": [*ADDED, {"id": 3}]}, "added_tokens[1] is (None, 3)"),
        ({"model": BPE, "added_tokens": [{"content": "<s>"}]}, "added_tokens[0] is ('<s>', None)"),
    ],
)
def test_entries_that_make_no_sense_are_named(document: Any, where: str, demo: Model, tmp_path: Path) -> None:
    """To drafts and to adapters alike."""
    other = replace(demo, directory=written(tmp_path / "other", document))
    for read in (lambda: check_same_tokenizer(demo, other), lambda: fitting_of(replace(other, files=()), 8)):
        with pytest.raises(DamagedModelError, match=r"tokenizer\.json is damaged") as raised:
            read()
        assert where in raised.value.why


def test_tokenizers_that_differ_are_told_by_a_token(demo: Model, tmp_path: Path) -> None:
    check_same_tokenizer(demo, demo)
    document = json.loads((DEMO_DIRECTORY / "tokenizer.json").read_text())
    document["model"]["vocab"]["a"] += 1
    with pytest.raises(UsageError, match="cannot draft for") as raised:
        check_same_tokenizer(demo, replace(demo, directory=written(tmp_path / "other", document)))
    assert "'a' is " in raised.value.why
