"""The model's tokenizer: text to ids, and ids back to text and bytes.

Long texts are encoded off the event loop, by the library's calls that let go of the interpreter's lock (`encode` does
not), and no further than is needed to know that they are too long.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from tokenizers import Encoding
from tokenizers import Tokenizer as RustTokenizer

from stoker.errors import DamagedModelError
from stoker.serve.request.lanes import Lane
from stoker.vocabulary import Vocabulary

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the cores are the engine's

_INLINE_CHARACTERS = 2048  # about a millisecond
_PIECE_CHARACTERS = 32 << 10
_SPLIT_TOKENS = 4  # that a text may have more than the whole for being cut in two


@dataclass(frozen=True)
class Cut:
    """`most` tokens of an input are kept, control tokens among them; `left`: what is cut off is its beginning."""

    most: int
    left: bool = False


@dataclass(frozen=True)
class Input:
    """A text, or two as one, for a model that reads it whole. `token_types` are 0 for the first and 1 for the second;
    `length` counts the tokens before any were cut off."""

    ids: list[int]
    token_types: list[int]
    length: int


class Tokenizer:
    """Ids and texts of one model. Thread-safe."""

    def __init__(self, rust: RustTokenizer) -> None:
        rust.no_truncation()
        rust.no_padding()
        self._rust = rust
        self._short, self._long = Lane("tokenize", large=False), Lane("tokenize-long", large=True)
        vocabulary = Vocabulary(rust)
        self.special = vocabulary.special
        self.size = vocabulary.size
        self.longest = max(map(len, rust.get_vocab()), default=1)
        self.token_bytes = lru_cache(1 << 16)(vocabulary.token_bytes)

    async def encode(
        self, text: str, *, add_special_tokens: bool, most: int | None = None, left: bool = False
    ) -> list[int]:
        """Of a text of more than `most` tokens, only so many more as show it, from its beginning or (`left`: what is to
        be cut off is there) from its end. ApiError where too many wait."""
        [ids] = await self.encode_all([text], add_special_tokens=add_special_tokens, most=most, left=left)
        return ids

    async def encode_all(
        self, texts: Sequence[str], *, add_special_tokens: bool, most: int | None = None, left: bool = False
    ) -> list[list[int]]:
        """Each as `encode` has it."""
        size = sum(map(len, texts))
        if size <= _INLINE_CHARACTERS:
            return [self.encode_now(text, add_special_tokens=add_special_tokens) for text in texts]
        stop = threading.Event()

        def work() -> list[list[int]]:
            short = (self._shortened(text, most, stop, left=left) for text in texts)
            return [self.encode_now(text, add_special_tokens=add_special_tokens) for text in short]

        try:
            return await self._lane(size).run(work)
        finally:
            stop.set()

    def _lane(self, size: int) -> Lane:
        return self._short if size <= 2 * _PIECE_CHARACTERS else self._long

    def _shortened(self, text: str, most: int | None, stop: threading.Event, *, left: bool = False) -> str:
        """The text, or enough of its beginning (`left`: of its end) to have more than `most` tokens."""
        if most is None or len(text) <= max(most, _PIECE_CHARACTERS):
            return text
        count = 0
        for taken in range(_PIECE_CHARACTERS, len(text), _PIECE_CHARACTERS):
            begin = len(text) - taken if left else taken - _PIECE_CHARACTERS
            count += len(self._encoding(text[begin : begin + _PIECE_CHARACTERS])) - _SPLIT_TOKENS
            if count > most or stop.is_set():
                return text[-taken:] if left else text[:taken]
        return text

    def _encoding(self, text: str, *, add_special_tokens: bool = False) -> Encoding:
        [found] = self._rust.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return found

    def encode_now(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids: list[int] = self._encoding(text, add_special_tokens=add_special_tokens).ids
        return ids

    async def encode_inputs(self, texts: Sequence[tuple[str, str | None]], cut: Cut) -> list[Input]:
        """With control tokens. Of two texts the second is cut, and where that is not enough `ids` are too many."""
        size = sum(len(text) + len(other or "") for text, other in texts)
        stop = threading.Event()
        if size <= _INLINE_CHARACTERS:
            return [self._input(text, other, cut, stop) for text, other in texts]
        try:
            return await self._lane(size).run(lambda: [self._input(*each, cut, stop) for each in texts])
        finally:
            stop.set()

    def _input(self, text: str, other: str | None, cut: Cut, stop: threading.Event) -> Input:
        parts = [
            self._encoding(self._shortened(each, cut.most, stop, left=cut.left))
            for each in (text, other)
            if each is not None
        ]
        room = cut.most - self._rust.num_special_tokens_to_add(other is not None)
        length = sum(map(len, parts)) + cut.most - room
        parts[-1].truncate(max(0, room - sum(map(len, parts[:-1]))), direction="left" if cut.left else "right")
        whole = self._rust.post_process(parts[0], parts[1] if len(parts) > 1 else None, add_special_tokens=True)
        return Input(whole.ids, whole.type_ids, length)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._rust.decode(ids)
        return text

    def decode_all(self, ids: Sequence[int]) -> str:
        """With the control tokens."""
        text: str = self._rust.decode(ids, skip_special_tokens=False)
        return text

    def id_of(self, token: str) -> int | None:
        id_: int | None = self._rust.token_to_id(token)
        return id_

    @cached_property
    def special_texts(self) -> dict[int, str]:
        """The control tokens, as they are written."""
        return {id_: self.decode_all([id_]) for id_ in self.special}

    def ids_of(self, tokens: Sequence[str]) -> list[int] | None:
        """None unless all of them are tokens."""
        found = [id_ for token in tokens if (id_ := self.id_of(token)) is not None]
        return found if len(found) == len(tokens) else None

    def special_id(self, token: str) -> int | None:
        """None for a text that is no control token."""
        id_ = self.id_of(token) if token else None
        return id_ if id_ in self.special else None

    def close(self) -> None:
        self._short.close()
        self._long.close()


def load_tokenizer(directory: Path) -> Tokenizer:
    """Raises DamagedModelError for a tokenizer.json that is missing or not one."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise DamagedModelError("the model has no tokenizer.json", remedy="add the tokenizer's files and build again")
    try:
        return Tokenizer(RustTokenizer.from_file(str(path)))
    except Exception as error:  # the Rust library raises bare Exception
        raise DamagedModelError("tokenizer.json cannot be read", why=str(error)) from error
