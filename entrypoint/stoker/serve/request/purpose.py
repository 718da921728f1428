"""What a model is for: text, vectors or scores. Each endpoint is for one of them."""

from __future__ import annotations

from stoker.serve.http.errors import ApiError
from stoker.serve.operate.frontend import Frontend

TEXT, VECTORS, SCORES = "text", "embeddings", "relevance scores"
_ASK = {TEXT: "POST /v1/chat/completions or /v1/completions", VECTORS: "POST /v1/embeddings", SCORES: "POST /v1/rerank"}


def purpose_of(frontend: Frontend) -> str:
    if frontend.pooling is None:
        return TEXT
    return SCORES if frontend.pooling.method == "score" else VECTORS


def check_purpose(frontend: Frontend, wanted: str) -> None:
    """ApiError, 400, saying what this server is for."""
    own = purpose_of(frontend)
    if own != wanted:
        text = f"The model served here, '{frontend.names[0]}', gives {own} and no {wanted}: {_ASK[own]}."
        raise ApiError(400, text, param="model", code="wrong_endpoint")
