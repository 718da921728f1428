"""What a model is for: text, vectors, or scores."""

from __future__ import annotations

from stoker.plan.types import EMBEDDING, RERANK, TEXT
from stoker.resolve.model import Model


def purpose_of(model: Model) -> str:
    """One of types.PURPOSES."""
    if model.pooling is None:
        return TEXT
    return RERANK if model.pooling.method == "score" else EMBEDDING


def pools(model: Model) -> bool:
    """Whether it gives no text, but vectors or scores: each text is encoded whole, and there is no KV cache."""
    return model.pooling is not None
