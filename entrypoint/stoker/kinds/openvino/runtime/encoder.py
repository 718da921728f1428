"""The runtime of embedding models and rerankers: whole texts, several in one inference.

OpenVINO GenAI's TextEmbeddingPipeline and TextRerankPipeline take texts and not token ids, truncate silently, and know
no end of one request amid others, so that neither can keep the tensor contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino

from stoker.kinds.openvino.files import GRAPH
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output

_TOKEN_TYPES = 2  # what BERT has where its config does not say
_LENGTH_STEP = 16  # lengths are rounded up to it: each shape that is new has kernels compiled for it


class EncodedText:
    def __init__(self, generation: Generation) -> None:
        self.ids = generation.input_ids
        self.token_types = generation.token_types
        self.embedding: npt.NDArray[np.float32] | None = None
        self.cancelled = False

    def read(self) -> Output:
        return Output((), (), ended=self.embedding is not None, embedding=self.embedding)

    def cancel(self) -> None:
        self.cancelled = True


class EncoderRuntime:
    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._token_types = settings.token_types or _TOKEN_TYPES
        self._waiting: list[EncodedText] = []
        compiled = openvino.Core().compile_model(
            Path(settings.engine_directory) / GRAPH, "CPU", compile_properties(settings)
        )
        self._inputs = {name for each in compiled.inputs for name in each.get_names()}
        self._request: openvino.InferRequest | None = compiled.create_infer_request()

    def add(self, generation: Generation) -> EncodedText:
        length, longest = len(generation.input_ids), self._settings.chosen.max_seq_len
        if length > longest:
            raise RequestRefusedError(f"the text of {length} tokens is too long", why=f"texts may have {longest}")
        if len(generation.token_types) not in (0, length):
            raise RequestRefusedError("token_type_ids must be as many as input_ids")
        self._check_types(generation.token_types)
        text = EncodedText(generation)
        self._waiting.append(text)
        return text

    def _check_types(self, types: Sequence[int]) -> None:
        """As ids are: a lookup beyond the table would read what lies beside it."""
        if "token_type_ids" in self._inputs and len(types) and not 0 <= min(types) <= max(types) < self._token_types:
            raise RequestRefusedError(
                f"token_type_ids has {min(types)} to {max(types)}", why=f"the model has {self._token_types} token types"
            )

    def step(self) -> bool:
        """One inference over the oldest text and those that go well with it."""
        self._waiting = [text for text in self._waiting if not text.cancelled]
        if not self._waiting:
            return False
        batch = together(self._waiting, self._settings.chosen.max_batch_size, self._settings.chosen.max_num_tokens)
        assert self._request is not None
        found = self._request.infer(self._tensors(batch))["embedding"]
        for text, embedding in zip(batch, np.array(found, np.float32), strict=True):
            text.embedding = embedding
            self._waiting.remove(text)
        return True

    def _tensors(self, batch: Sequence[EncodedText]) -> dict[str, npt.NDArray[np.int64]]:
        longest = max(len(text.ids) for text in batch)
        length = min(padded(longest), max(longest, self._settings.chosen.max_seq_len))
        tensors = {name: np.zeros((len(batch), length), np.int64) for name in self._inputs}
        for row, text in enumerate(batch):
            tensors["input_ids"][row, : len(text.ids)] = text.ids
            tensors["attention_mask"][row, : len(text.ids)] = 1
            if "token_type_ids" in tensors and len(text.token_types):
                tensors["token_type_ids"][row, : len(text.ids)] = text.token_types
        return tensors

    def close(self) -> None:
        self._waiting.clear()
        self._request = None


def padded(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP


def together(waiting: Sequence[EncodedText], most: int, tokens: int) -> list[EncodedText]:
    """The first, and of the others those whose length is nearest, as long as all of them, padded to the longest, have
    no more than `tokens`. The first goes alone if need be, so that no text waits for ever."""
    first, others = waiting[0], waiting[1:]
    batch, longest = [first], padded(len(first.ids))
    for text in sorted(others, key=lambda each: abs(len(each.ids) - len(first.ids))):
        wider = max(longest, padded(len(text.ids)))
        if len(batch) == most or wider * (len(batch) + 1) > tokens:
            break
        batch.append(text)
        longest = wider
    return batch
