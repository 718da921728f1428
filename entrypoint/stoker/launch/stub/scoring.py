"""What logits say of tokens that are given: their log probabilities, and the likeliest ones in their places."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from stoker.launch.generation import Scores, Top
from stoker.launch.stub.sampler import Logits, log_softmax

_BLOCK = 1 << 20  # numbers that are worked on at once, a few megabytes


class Scorer:
    """A prompt's scores, of logits that come piece by piece; of a piece nothing else is kept."""

    def __init__(self, prompt: Sequence[int], count: int) -> None:
        self._next = np.asarray(prompt, np.int64)[1:]
        self._known = 0
        self._ids = np.empty((len(self._next), 1 + count), np.int32)
        self._log_probs = np.empty((len(self._next), 1 + count), np.float32)
        self._ranks = np.empty(len(self._next), np.int32)

    @property
    def over(self) -> bool:
        return self._known == len(self._next)

    def take(self, logits: Logits, begin: int) -> None:
        """Logits [tokens, vocabulary] of the prompt's tokens from the one at `begin` on; known ones are passed over."""
        rows = max(1, _BLOCK // logits.shape[1])
        last = min(begin + len(logits), len(self._next))
        while self._known < last:
            place, end = self._known, min(self._known + rows, last)
            self._score(logits[place - begin : end - begin], slice(place, end))
            self._known = end

    def _score(self, logits: Logits, places: slice) -> None:
        own = self._next[places, None]
        values = np.take_along_axis(logits, own, 1)
        self._ranks[places] = 1 + (logits > values).sum(1)
        log_probs = log_softmax(logits)
        likeliest = order(log_probs, self._ids.shape[1] - 1)
        self._ids[places] = np.concatenate([own, likeliest], 1)
        self._log_probs[places] = np.take_along_axis(log_probs, self._ids[places].astype(np.int64), 1)

    def scores(self) -> Scores:
        """Once it is over."""
        ids, log_probs = array("i", self._ids.tobytes()), array("f", self._log_probs.tobytes())
        return Scores(self._ids.shape[1], ids, log_probs, array("i", self._ranks.tobytes()))


def order(log_probs: Logits, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The ids of the `count` largest of each row [rows, vocabulary], largest first."""
    count = min(count, log_probs.shape[1])
    found = np.argpartition(-log_probs, max(count - 1, 0), axis=1)[:, :count]
    values = np.take_along_axis(log_probs, found, 1)
    return np.take_along_axis(found, np.argsort(-values, axis=1, kind="stable"), 1)


def likeliest(logits: Logits, count: int) -> Top:
    """Of logits [vocabulary]."""
    log_probs = log_softmax(logits)
    return [(int(id_), float(log_probs[id_])) for id_ in order(log_probs[None], count)[0]]
