"""/v1/rerank, in Jina's and Cohere's form, and /v1/ranking, in NIM's."""

from __future__ import annotations

import math
import uuid

from stoker.serve.apis.pooled.endpoints import PooledJob, Vectors, usage
from stoker.serve.apis.pooled.inputs import pair_inputs
from stoker.serve.apis.pooled.requests import RankingRequest, RerankRequest
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.preparation import check_model


async def prepare_rerank(request: RerankRequest, frontend: Frontend) -> PooledJob:
    """Raises ApiError naming the parameter at fault."""
    check_model(request.model, frontend)
    texts = [document if isinstance(document, str) else document.text for document in request.documents]
    inputs = await pair_inputs(request.query, texts, "documents", request, frontend)
    identity = f"rerank-{uuid.uuid4().hex}"

    def answer(scores: Vectors) -> dict[str, object]:
        results = [_result(index, scores[index][0], texts, request) for index in _ranked(scores)[: request.top_n]]
        return {"id": identity, "model": request.model, "results": results, "usage": usage(inputs)}

    return PooledJob(identity, request.model, inputs, answer)


def _result(index: int, score: float, texts: list[str], request: RerankRequest) -> dict[str, object]:
    result: dict[str, object] = {"index": index, "relevance_score": sigmoid(score)}
    return {**result, "document": {"text": texts[index]}} if request.return_documents else result


async def prepare_ranking(request: RankingRequest, frontend: Frontend) -> PooledJob:
    """Raises ApiError naming the parameter at fault."""
    check_model(request.model, frontend)
    texts = [passage.text for passage in request.passages]
    inputs = await pair_inputs(request.query.text, texts, "passages", request, frontend)

    def answer(scores: Vectors) -> dict[str, object]:
        rankings = [{"index": index, "logit": scores[index][0]} for index in _ranked(scores)]
        return {"rankings": rankings, "usage": usage(inputs)}

    return PooledJob(f"ranking-{uuid.uuid4().hex}", request.model, inputs, answer)


def _ranked(scores: Vectors) -> list[int]:
    """Places, the best score's first."""
    return sorted(range(len(scores)), key=lambda index: -scores[index][0])


def sigmoid(score: float) -> float:
    """Of any size, without overflow."""
    small = math.exp(-abs(score))
    return 1 / (1 + small) if score >= 0 else small / (1 + small)
