from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from stoker.kinds.openvino.runtime.vocabulary import vocabulary_bytes
from stoker.kinds.tensorrt_llm.build.vocabulary import vocabulary_of, write_vocabulary
from stoker.kinds.tensorrt_llm.files import VOCABULARY
from stoker.resolve.local import DEMO_DIRECTORY


def test_the_file_has_each_token_at_its_id_and_is_ascii(tmp_path):
    write_vocabulary(DEMO_DIRECTORY, tmp_path)
    told = json.loads((tmp_path / VOCABULARY).read_text("ascii"))
    rust = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
    assert [rust.token_to_id(token) for token in told["encoded_vocab"]] == list(range(rust.get_vocab_size()))
    assert Tokenizer.from_str(told["tokenizer_str"]).encode("Once upon").ids == rust.encode("Once upon").ids
    assert all(rust.id_to_token(stop) for stop in told["stop_token_ids"])
    assert told["stop_token_ids"]


def test_without_a_tokenizer_there_is_no_file(tmp_path):
    (tmp_path / "model").mkdir()
    write_vocabulary(tmp_path / "model", tmp_path)
    assert not (tmp_path / VOCABULARY).exists()


@pytest.mark.parametrize("rows", [100, 2048, None])
def test_a_grammar_knows_no_more_ids_than_the_model(rows, tmp_path):
    told = vocabulary_of(DEMO_DIRECTORY / "tokenizer.json", [2, 2040, 2050], rows)
    size = rows or 2048
    assert len(told["encoded_vocab"]) == size
    assert told["stop_token_ids"] == [end for end in (2, 2040) if end < size]


@pytest.mark.parametrize(("logits", "size"), [(100, 100), (2048, 2048), (3000, 3000), (0, 2048)])
def test_nor_does_that_of_openvino(logits, size):
    tokenizer = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
    assert len(vocabulary_bytes(tokenizer, logits)) == size
