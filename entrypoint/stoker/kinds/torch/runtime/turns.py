"""The fallback runtime, for families whose attention transformers cannot page: a contiguous cache for each sequence."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stoker.launch.settings import EngineSettings
from stoker.launch.stub.sampler import Logits
from stoker.launch.stub.turns import TurnsRuntime


class CacheSession:
    """Holds whatever kind of cache the model makes for itself."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._wanted = {"logits_to_keep": 1} if model._supports_logits_to_keep() else {}
        self._name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        self._cache: Any = None

    def infer(self, ids: Sequence[int], done: int, *, every: bool = False) -> Logits:
        device = self._model.device
        inputs = {
            "input_ids": torch.tensor([ids], device=device),
            "attention_mask": torch.ones((1, done + len(ids)), dtype=torch.long, device=device),
            self._name: self._cache,
        }
        with torch.inference_mode():
            output = self._model(**inputs, use_cache=True, **({} if every else self._wanted))
        self._cache = output.cache if "cache" in output else output.past_key_values
        logits = output.logits[0] if every else output.logits[0, -1]
        return np.asarray(logits.float().cpu().numpy(), np.float32)

    def reset(self) -> None:
        self._cache = None


class ContiguousRuntime(TurnsRuntime):
    def __init__(self, model: Any, settings: EngineSettings) -> None:
        super().__init__(settings, lambda: CacheSession(model))
