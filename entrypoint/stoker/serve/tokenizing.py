"""The model's tokenizer: text to ids, and ids back to text and bytes. Long texts are encoded off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from stoker.errors import DamagedModelError
from stoker.vocabulary import Vocabulary

_INLINE_CHARACTERS = 4096  # about a millisecond


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
