"""The calibration text: the package's own and the user's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import stoker
from stoker.build.calibration import Text, read_text, token_chunks
from stoker.errors import UnsupportedModelError, UsageError

DEMO = Path(stoker.__file__).parent / "resolve" / "demo"


def test_the_packages_text_is_varied_and_large_enough():
    text = read_text()
    assert text.source == "package"
    assert 30_000 <= sum(map(len, text.documents)) <= 60_000
    assert len(text.documents) >= 4
    assert all(document.isprintable() or "\n" in document for document in text.documents)


def test_documents_come_from_text_and_json_lines_in_a_fixed_order(tmp_path):
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.jsonl").write_text(
        '"one"\n\n{"text": "two"}\n'
        + json.dumps({"messages": [{"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]})
    )
    (tmp_path / "ignored.bin").write_bytes(b"\xff")
    text = read_text(tmp_path)
    assert text.documents == ("one", "two", "three\nfour", "second")
    assert text.digest == read_text(tmp_path).digest
    (tmp_path / "b.txt").write_text("other")
    assert text.digest != read_text(tmp_path).digest


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b'"fine"\n{"text": 3}', r"x\.jsonl:2 holds no text"),
        ("x.jsonl", b"{", r"x\.jsonl:1 is not JSON"),
        ("x.jsonl", b'{"messages": 3}', "holds no text"),
        ("x.txt", b"\xff\xfe", "cannot be read"),
        ("x.txt", b"  \n", "is empty"),
    ],
)
def test_a_text_that_cannot_be_used_says_where(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_text(tmp_path / name)


def test_a_path_without_text_is_a_usage_error(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="no calibration text"):
            read_text(path)


def test_chunks_cover_the_text_and_begin_as_the_tokenizer_does():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    text = read_text()
    chunks = token_chunks(text, DEMO, 8, 64)
    beginning = tokenizer.encode("", add_special_tokens=True).ids[:1]
    first = beginning + tokenizer.encode(text.documents[0], add_special_tokens=False).ids
    last = tokenizer.encode(text.documents[-1], add_special_tokens=False).ids
    assert [len(chunk) for chunk in chunks] == [64] * 8
    assert all(chunk[: len(beginning)] == beginning for chunk in chunks)
    assert chunks[0] == first[:64]
    assert chunks[-1][-20:] in [last[i : i + 20] for i in range(len(last) - 400, len(last) - 19)]


def test_a_short_text_gives_one_short_chunk():
    text = Text("x", ("word " * 60,), "")
    (chunk,) = token_chunks(text, DEMO, 64, 4096)
    assert 40 <= len(chunk) <= 200


def test_too_little_text_and_a_missing_tokenizer_are_named(tmp_path):
    with pytest.raises(UsageError, match="only"):
        token_chunks(Text("x", ("word",), ""), DEMO, 64, 256)
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.json"):
        token_chunks(Text("x", ("word",), ""), tmp_path, 64, 256)
