"""Log probabilities of the chosen tokens, in the two forms that OpenAI's endpoints have."""

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
        raw = self._token_bytes(entry.token_id)
        token = raw.decode(errors="replace")
        return {"token": token, "logprob": _finite(entry.value), "bytes": list(raw), "top_logprobs": []}


class CompletionLogProbs:
    """`top` is whether to list the most likely tokens: the engine tells only the chosen one's, so that is the list."""

    def __init__(self, token_bytes: Callable[[int], bytes], *, top: bool) -> None:
        self._token_bytes = token_bytes
        self._top = top

    def __call__(self, entries: Sequence[TokenLogProb]) -> Any:
        if not entries:
            return None
        tokens = [self._token_bytes(entry.token_id).decode(errors="replace") for entry in entries]
        values = [_finite(entry.value) for entry in entries]
        top = [{token: value} for token, value in zip(tokens, values, strict=True)]
        return {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": top if self._top else None,
            "text_offset": [entry.offset for entry in entries],
        }


def _finite(value: float) -> float:
    return value if value > _LEAST else _LEAST
