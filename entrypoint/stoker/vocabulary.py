"""What each id of a tokenizer stands for, in bytes. The API needs it for log probabilities, the engine for grammars."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from tokenizers import Tokenizer

from stoker.json_text import parse_json

# Control tokens that begin and end calls and thinking. Grammars of free text with calls in it write them as text.
MARKS = (
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", "<|/tool_call|>", "<|python_tag|>"),
    *("<think>", "</think>", "[THINK]", "[/THINK]"),
)

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """`special` are the ids that are no text. `size` is one more than the greatest id."""

    def __init__(self, rust: Tokenizer) -> None:
        self._rust = rust
        self.special = frozenset(id_ for id_, token in rust.get_added_tokens_decoder().items() if token.special)
        self.size = max(rust.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self._added = frozenset(rust.get_added_tokens_decoder())
        self._byte_level = "ByteLevel" in json.dumps(parse_json(rust.to_str()).get("decoder"))

    def token_bytes(self, token_id: int) -> bytes:
        """What one token stands for, which need not be whole characters; empty for an id that is not in use."""
        piece: str | None = self._rust.id_to_token(token_id)
        if piece is None:
            return b""
        if token_id in self._added:
            return piece.encode()
        if self._byte_level:
            return _byte_level_bytes(piece)
        byte = _BYTE_PIECE.fullmatch(piece)
        return bytes.fromhex(byte[1]) if byte else piece.replace("\u2581", " ").encode()


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
