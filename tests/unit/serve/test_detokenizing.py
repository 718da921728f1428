"""Pieces of text, joined, are the whole text, for byte-level and for SentencePiece-like tokenizers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers

from stoker.serve.generate.detokenizing import Detokenizer
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.tokenizing import Tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SMILES = "a \N{GRINNING FACE}\N{GRINNING FACE} 안녕 \N{ZERO WIDTH JOINER}e\N{COMBINING ACUTE ACCENT} ok"


def pieces(tokenizer: Tokenizer, ids: list[int], context: list[int], sizes: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer, context)
    bounds = [0, *sorted({size % (len(ids) + 1) for size in sizes}), len(ids)]
    return [detokenizer.feed(ids[start:end]) for start, end in pairwise(bounds)] + [detokenizer.flush()]


def sentencepiece_like() -> Tokenizer:
    """Byte fallback and word-boundary spaces, as in Llama 2, Mistral and Phi-3."""
    letters = {letter: index for index, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz")}
    vocabulary = {"<unk>": len(letters), **letters, "<s>": len(letters) + 1}
    vocabulary |= {f"<0x{byte:02X}>": len(letters) + 2 + byte for byte in range(256)}
    model = models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    rust = RustTokenizer(model)
    rust.add_special_tokens(["<s>"])
    rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    rust.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return Tokenizer(rust)


@pytest.fixture(scope="module")
def sentencepiece() -> Iterator[Tokenizer]:
    made = sentencepiece_like()
    yield made
    made.close()


@settings(max_examples=200)
@given(text=TEXT, sizes=st.lists(st.integers(0, 200), max_size=40))
def test_byte_level_pieces_join_to_the_text(frontend: Frontend, text: str, sizes: list[int]) -> None:
    ids = frontend.tokenizer.encode_now(text, add_special_tokens=False)
    assert "".join(pieces(frontend.tokenizer, ids, [], sizes)) == frontend.tokenizer.decode(ids)


@settings(max_examples=200)
@given(text=TEXT, sizes=st.lists(st.integers(0, 200), max_size=40))
def test_sentencepiece_pieces_join_to_the_text(sentencepiece: Tokenizer, text: str, sizes: list[int]) -> None:
    text = text.replace("\u2581", " ")  # stands for a space in such vocabularies, and decodes to one
    ids = sentencepiece.encode_now(text, add_special_tokens=False)
    assert "".join(pieces(sentencepiece, ids, [], sizes)) == sentencepiece.decode(ids) == text


@settings(max_examples=200)
@given(ids=st.lists(st.integers(0, 2047), max_size=60))
def test_random_ids_join_to_what_they_decode_to(frontend: Frontend, ids: list[int]) -> None:
    assert "".join(pieces(frontend.tokenizer, ids, [], list(range(60)))) == frontend.tokenizer.decode(ids)


def test_no_character_is_shown_before_it_is_whole(frontend: Frontend, sentencepiece: Tokenizer) -> None:
    for tokenizer in (frontend.tokenizer, sentencepiece):
        ids = tokenizer.encode_now(SMILES, add_special_tokens=False)
        shown = pieces(tokenizer, ids, [], list(range(len(ids))))
        assert "\N{REPLACEMENT CHARACTER}" not in "".join(shown)
        assert max(map(len, shown)) <= 3


def test_bytes_that_never_become_a_character_are_flushed(frontend: Frontend) -> None:
    ids = frontend.tokenizer.encode_now("\N{GRINNING FACE}", add_special_tokens=False)[:-1]
    *shown, last = pieces(frontend.tokenizer, ids, [], list(range(len(ids))))
    assert "".join(shown) == ""
    assert last == frontend.tokenizer.decode(ids)


def test_a_completion_continues_its_prompt_with_a_space(sentencepiece: Tokenizer) -> None:
    ids = sentencepiece.encode_now("once upon", add_special_tokens=False)
    prompt, continued = ids[:5], ids[5:]
    assert sentencepiece.decode(prompt) == "once"
    assert "".join(pieces(sentencepiece, continued, [], [1, 2])) == "upon"
    assert "".join(pieces(sentencepiece, continued, prompt, [1, 2])) == " upon"


def test_special_tokens_in_between_change_nothing(sentencepiece: Tokenizer) -> None:
    special = next(iter(sentencepiece.special))
    ids = sentencepiece.encode_now("once upon a time there was", add_special_tokens=False)
    mixed = [token_id for each in ids for token_id in (each, special, special)]
    assert "".join(pieces(sentencepiece, mixed, [], list(range(200)))) == "once upon a time there was"


class Recording:
    """Decodes as the tokenizer does, and remembers the longest window."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.special = tokenizer.special
        self.longest = 0

    def decode(self, ids: Sequence[int]) -> str:
        self.longest = max(self.longest, len(ids))
        return self.tokenizer.decode(ids)


@pytest.mark.parametrize("kind", ["an incomplete byte", "no text at all", "words"])
def test_the_work_for_a_token_is_bounded_whatever_comes(frontend: Frontend, kind: str) -> None:
    tokenizer = frontend.tokenizer
    [incomplete] = {tokenizer.encode_now("\N{GRINNING FACE}", add_special_tokens=False)[-1]}
    token_id = {"an incomplete byte": incomplete, "no text at all": 10**6, "words": 500}[kind]
    decoder = Recording(tokenizer)
    detokenizer = Detokenizer(decoder)
    text = "".join(detokenizer.feed((token_id,)) for _ in range(500)) + detokenizer.flush()
    assert text == tokenizer.decode([token_id] * 500)
    assert decoder.longest <= 100


@pytest.mark.parametrize("text", ["a b", "é\N{GRINNING FACE}"])
def test_the_bytes_of_tokens_join_to_the_text(frontend: Frontend, sentencepiece: Tokenizer, text: str) -> None:
    for tokenizer in (frontend.tokenizer, sentencepiece):
        ids = tokenizer.encode_now(text, add_special_tokens=False)
        assert b"".join(map(tokenizer.token_bytes, ids)).decode().lstrip() == text
