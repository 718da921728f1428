"""The model's tokenizer: text to ids, and ids back to text and bytes. Long texts are encoded off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from stoker.errors import DamagedModelError
from stoker.vocabulary import Vocabulary

_INLINE_CHARACTERS = 4096  # about a millisecond


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

    def __init__(self, rust: RustTokenizer, *, threads: int = 2) -> None:
        rust.no_truncation()
        rust.no_padding()
        self._rust = rust
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tokenize")
        vocabulary = Vocabulary(rust)
        self.special = vocabulary.special
        self.size = vocabulary.size
        self.token_bytes = lru_cache(1 << 16)(vocabulary.token_bytes)

    async def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        if len(text) <= _INLINE_CHARACTERS:
            return self.encode_now(text, add_special_tokens=add_special_tokens)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, lambda: self.encode_now(text, add_special_tokens=add_special_tokens)
        )

    def encode_now(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids: list[int] = self._rust.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    async def encode_inputs(self, texts: Sequence[tuple[str, str | None]], cut: Cut) -> list[Input]:
        """With control tokens. Of two texts the second is cut, and where that is not enough `ids` are too many."""
        if sum(len(text) + len(other or "") for text, other in texts) <= _INLINE_CHARACTERS:
            return [self._input(text, other, cut) for text, other in texts]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: [self._input(*each, cut) for each in texts])

    def _input(self, text: str, other: str | None, cut: Cut) -> Input:
        parts = [self._rust.encode(each, add_special_tokens=False) for each in (text, other) if each is not None]
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
        self._pool.shutdown(wait=False, cancel_futures=True)


def load_tokenizer(directory: Path) -> Tokenizer:
    """Raises DamagedModelError for a tokenizer.json that is missing or not one."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise DamagedModelError("the model has no tokenizer.json", remedy="add the tokenizer's files and build again")
    try:
        return Tokenizer(RustTokenizer.from_file(str(path)))
    except Exception as error:  # the Rust library raises bare Exception
        raise DamagedModelError("tokenizer.json cannot be read", why=str(error)) from error
