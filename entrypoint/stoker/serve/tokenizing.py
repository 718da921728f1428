"""The model's tokenizer: text to ids, and ids back to text and bytes. Long texts are encoded off the event loop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from stoker.errors import DamagedModelError

_INLINE_CHARACTERS = 4096  # about a millisecond
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class Tokenizer:
    """Ids and texts of one model. Thread-safe."""

    def __init__(self, rust: RustTokenizer, *, threads: int = 2) -> None:
        rust.no_truncation()
        rust.no_padding()
        self._rust = rust
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tokenize")
        self.special = frozenset(id_ for id_, token in rust.get_added_tokens_decoder().items() if token.special)
        self.size = max(rust.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self._byte_level = "ByteLevel" in json.dumps(json.loads(rust.to_str()).get("decoder"))
        self.token_bytes = lru_cache(1 << 16)(self._token_bytes)

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

    def id_of(self, token: str) -> int | None:
        id_: int | None = self._rust.token_to_id(token)
        return id_

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _token_bytes(self, token_id: int) -> bytes:
        """What one token stands for, which need not be whole characters."""
        piece: str | None = self._rust.id_to_token(token_id)
        if piece is None:
            return b""
        if token_id in self.special:
            return piece.encode()
        if self._byte_level:
            return _byte_level_bytes(piece)
        byte = _BYTE_PIECE.fullmatch(piece)
        return bytes.fromhex(byte[1]) if byte else piece.replace("\u2581", " ").encode()


def load_tokenizer(directory: Path) -> Tokenizer:
    """Raises DamagedModelError for a tokenizer.json that is missing or not one."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise DamagedModelError("the model has no tokenizer.json", remedy="add the tokenizer's files and build again")
    try:
        return Tokenizer(RustTokenizer.from_file(str(path)))
    except Exception as error:  # the Rust library raises bare Exception
        raise DamagedModelError("tokenizer.json cannot be read", why=str(error)) from error


def _byte_level_bytes(piece: str) -> bytes:
    """The inverse of GPT-2's printable alphabet for bytes; a piece outside it is text itself."""
    table = _byte_level_alphabet()
    try:
        return bytes(table[character] for character in piece)
    except KeyError:
        return piece.encode()


@lru_cache(1)
def _byte_level_alphabet() -> dict[str, int]:
    """Printable Latin-1 bytes stand for themselves, the others in order for U+0100 and up."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}
