"""The bodies of /v1/embeddings, as OpenAI defines it, /v1/rerank, as Jina and Cohere do, and NIM's /v1/ranking."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

MOST_INPUTS = 2048


class Truncating(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to become of a text that is too long, as NIM and as vLLM spell it; refused where nothing is said.

    `truncate_prompt_tokens`: so many tokens of the text's beginning are kept, -1 for as many as there may be.
    """

    model: str
    truncate: Literal["NONE", "START", "END"] | None = None
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    # changes nothing
    user: str | None = None


class EmbeddingRequest(Truncating, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`input_type`: which of the model's own prompts goes before each text, in NIM's words."""

    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    input_type: Literal["query", "passage", "document"] | None = None


class Document(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    text: str


class RerankRequest(Truncating, frozen=True, forbid_unknown_fields=True, kw_only=True):
    query: str
    documents: Annotated[list[str | Document], Meta(min_length=1, max_length=MOST_INPUTS)]
    top_n: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    return_documents: bool | None = None


class RankingRequest(Truncating, frozen=True, forbid_unknown_fields=True, kw_only=True):
    query: Document
    passages: Annotated[list[Document], Meta(min_length=1, max_length=MOST_INPUTS)]
