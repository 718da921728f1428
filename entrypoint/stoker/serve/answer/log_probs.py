"""Log probabilities of the chosen tokens and the likeliest ones, in the two forms that OpenAI's endpoints have, and of
the prompt's, in vLLM's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from stoker.launch.generation import Scores
from stoker.serve.generate.sequence import TokenLogProb

# None where no token has become visible.
RenderLogProbs: TypeAlias = Callable[[Sequence[TokenLogProb]], Any]
# Of a prompt's ids; None where the engine had nothing to tell of a prompt of one token.
RenderScores: TypeAlias = Callable[[Sequence[int], Scores | None], Any]

# JSON has no infinities; OpenAI writes this for a probability of zero.
_LEAST = -9999.0


class ChatLogProbs:
    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes

    def __call__(self, entries: Sequence[TokenLogProb]) -> object:
        content = [self._entry(entry) for entry in entries]
        return {"content": content, "refusal": None} if content else None

    def _entry(self, entry: TokenLogProb) -> dict[str, object]:
        top = [self._named(token_id, value) for token_id, value in entry.top]
        return {**self._named(entry.token_id, entry.value or 0.0), "top_logprobs": top}

    def _named(self, token_id: int, value: float) -> dict[str, object]:
        raw = self._token_bytes(token_id)
        return {"token": raw.decode(errors="replace"), "logprob": _finite(value), "bytes": list(raw)}


class CompletionLogProbs:
    """`top` is whether to list the most likely tokens; where only the sampled one's is known, that is the list.
    It is in the list in any case, as OpenAI has it. The first token of an echoed prompt has neither."""

    def __init__(self, token_bytes: Callable[[int], bytes], *, top: bool) -> None:
        self._token_bytes = token_bytes
        self._top = top

    def __call__(self, entries: Sequence[TokenLogProb]) -> object:
        if not entries:
            return None
        tokens = [self._text(entry.token_id) for entry in entries]
        values = [None if entry.value is None else _finite(entry.value) for entry in entries]
        own = zip(entries, tokens, values, strict=True)
        top = [None if value is None else {**self._likeliest(entry), token: value} for entry, token, value in own]
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


class PromptLogProbs:
    """As vLLM has them: for each token None (the first) or a map from ids to what is told of them, its own first, then
    the `top` likeliest."""

    def __init__(self, token_bytes: Callable[[int], bytes], top: int) -> None:
        self._token_bytes = token_bytes
        self._top = top

    def __call__(self, ids: Sequence[int], scores: Scores | None) -> list[dict[str, object] | None]:
        later = [] if scores is None else [self._told(ids[place + 1], place, scores) for place in range(len(scores))]
        return [None, *later]

    def _told(self, own: int, place: int, scores: Scores) -> dict[str, object]:
        told: dict[str, object] = {str(own): self._one(own, scores.own(place), scores.ranks[place])}
        for rank, (id_, value) in enumerate(scores.top(place, self._top), 1):
            told.setdefault(str(id_), self._one(id_, value, rank))
        return told

    def _one(self, id_: int, value: float, rank: int) -> dict[str, object]:
        text = self._token_bytes(id_).decode(errors="replace")
        return {"logprob": _finite(value), "rank": rank, "decoded_token": text}


def _finite(value: float) -> float:
    return value if value > _LEAST else _LEAST
