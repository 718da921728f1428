"""/v1/embeddings."""

from __future__ import annotations

import base64
import math
import uuid
from array import array
from collections.abc import Sequence

from stoker.serve.apis.pooled.endpoints import PooledJob, Vectors, usage
from stoker.serve.apis.pooled.inputs import embedding_inputs
from stoker.serve.apis.pooled.requests import EmbeddingRequest
from stoker.serve.http.errors import invalid
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.preparation import check_model


async def prepare_embeddings(request: EmbeddingRequest, frontend: Frontend) -> PooledJob:
    """Raises ApiError naming the parameter at fault."""
    check_model(request.model, frontend)
    if request.dimensions is not None and request.dimensions > frontend.dimensions:
        text = f"This model's vectors have {frontend.dimensions} dimensions, not {request.dimensions}."
        raise invalid(text, "dimensions")
    inputs = await embedding_inputs(request, frontend)

    def answer(vectors: Vectors) -> dict[str, object]:
        shown = (_shown(_shortened(vector, request.dimensions, frontend), request) for vector in vectors)
        data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(shown)]
        return {"object": "list", "data": data, "model": request.model, "usage": usage(inputs)}

    return PooledJob(f"embd-{uuid.uuid4().hex}", request.model, inputs, answer)


def _shortened(vector: Sequence[float], dimensions: int | None, frontend: Frontend) -> Sequence[float]:
    """As Matryoshka models are trained to be cut; of length 1 again where the whole is."""
    if dimensions is None or dimensions == len(vector):
        return vector
    kept = vector[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in kept))
    if frontend.pooling is None or not frontend.pooling.normalized or not length:
        return kept
    return array("f", (value / length for value in kept))


def _shown(vector: Sequence[float], request: EmbeddingRequest) -> str | list[float]:
    """base64: of little-endian 32-bit floats, which the SDKs ask for."""
    if request.encoding_format == "base64":
        return base64.b64encode(array("f", vector).tobytes()).decode()
    return list(vector)
