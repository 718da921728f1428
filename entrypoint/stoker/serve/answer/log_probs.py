"""Log probabilities of the chosen tokens and the likeliest ones, in the two forms that OpenAI's endpoints have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from stoker.serve.generate.sequence import TokenLogProb

# None where no token has become visible.
RenderLogProbs: TypeAlias = Callable[[Sequence[TokenLogProb]], Any]

# JSON has no infinities; OpenAI writes this for a probability of zero.
_LEAST = -9999.0


class ChatLogProbs:
    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes

    def __call__(self, entries: Sequence[TokenLogProb]) -> Any:
        content = [self._entry(entry) for entry in entries]
        return {"content": content, "refusal": None} if content else None

    def _entry(self, entry: TokenLogProb) -> dict[str, Any]:
        top = [self._named(token_id, value) for token_id, value in entry.top]
        return {**self._named(entry.token_id, entry.value), "top_logprobs": top}

    def _named(self, token_id: int, value: float) -> dict[str, Any]:
        raw = self._token_bytes(token_id)
        return {"token": raw.decode(errors="replace"), "logprob": _finite(value), "bytes": list(raw)}


class CompletionLogProbs:
    """`top` is whether to list the most likely tokens; where the engine tells only the chosen one's, that is the list.
    It is in the list in any case, as OpenAI has it."""

    def __init__(self, token_bytes: Callable[[int], bytes], *, top: bool) -> None:
        self._token_bytes = token_bytes
        self._top = top

    def __call__(self, entries: Sequence[TokenLogProb]) -> Any:
        if not entries:
            return None
        tokens = [self._text(entry.token_id) for entry in entries]
        values = [_finite(entry.value) for entry in entries]
        own = zip(entries, tokens, values, strict=True)
        top = [{**self._likeliest(entry), token: value} for entry, token, value in own]
        return {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": top if self._top else None,
            "text_offset": [entry.offset for entry in entries],
        }

    def _likeliest(self, entry: TokenLogProb) -> dict[str, float]:
        return {self._text(token_id): _finite(value) for token_id, value in entry.top}

    def _text(self, token_id: int) -> str:
        return self._token_bytes(token_id).decode(errors="replace")


def _finite(value: float) -> float:
    return value if value > _LEAST else _LEAST
