"""/api/embed, and /api/embeddings, its older form."""

from __future__ import annotations

import time
from typing import Literal

from stoker.serve.apis.ollama.answers import nanoseconds
from stoker.serve.apis.ollama.names import served_name
from stoker.serve.apis.ollama.requests import EmbeddingsRequest, EmbedRequest
from stoker.serve.apis.pooled.embeddings import prepare_embeddings as prepare
from stoker.serve.apis.pooled.endpoints import PooledJob, Vectors
from stoker.serve.apis.pooled.requests import EmbeddingRequest
from stoker.serve.operate.frontend import Frontend


async def prepare_embed(request: EmbedRequest, frontend: Frontend) -> PooledJob:
    """Texts that are too long are cut at their end, unless `truncate` is false. Raises ApiError."""
    began = time.perf_counter()
    truncate: Literal["NONE", "END"] = "NONE" if request.truncate is False else "END"
    job = await _job(request.model, request.input, truncate, request.dimensions, frontend)
    ready = time.perf_counter()

    def answer(vectors: Vectors) -> dict[str, object]:
        took = {"total_duration": nanoseconds(time.perf_counter() - began), "load_duration": nanoseconds(ready - began)}
        embeddings = [entry["embedding"] for entry in job.answer(vectors)["data"]]
        return {"model": request.model, "embeddings": embeddings, **took, "prompt_eval_count": job.tokens}

    return PooledJob(job.id, job.model, job.inputs, answer)


async def prepare_embeddings(request: EmbeddingsRequest, frontend: Frontend) -> PooledJob:
    """Raises ApiError."""
    job = await _job(request.model, request.prompt, "END", None, frontend)

    def answer(vectors: Vectors) -> dict[str, object]:
        return {"embedding": job.answer(vectors)["data"][0]["embedding"]}

    return PooledJob(job.id, job.model, job.inputs, answer)


async def _job(
    model: str, texts: str | list[str], truncate: Literal["NONE", "END"], dimensions: int | None, frontend: Frontend
) -> PooledJob:
    name = served_name(model, frontend)
    given: str | list[str | int | list[int]] = [*texts] if isinstance(texts, list) else texts
    meant = EmbeddingRequest(model=name, input=given, truncate=truncate, dimensions=dimensions)
    return await prepare(meant, frontend)
