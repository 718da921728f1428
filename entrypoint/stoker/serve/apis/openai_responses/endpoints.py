"""/v1/responses: creating one, and those that are kept."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from stoker.serve.apis.openai_responses.answers import ResponsesWriter
from stoker.serve.apis.openai_responses.requests import Item, ResponsesRequest
from stoker.serve.apis.openai_responses.store import Kept, ResponseStore
from stoker.serve.apis.openai_responses.tools import offered
from stoker.serve.apis.openai_responses.translation import chat_request, check, items_of
from stoker.serve.http.errors import ApiError, unsupported
from stoker.serve.http.limits import Call, client_of
from stoker.serve.http.replies import json_response
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.job import Job
from stoker.serve.request.preparation import chat_job


class Responses:
    """Prepares requests; with a store, those that ask for it are kept under their client's name."""

    def __init__(self, store: ResponseStore | None) -> None:
        self._store = store

    async def prepare(self, request: ResponsesRequest, frontend: Frontend, call: Call) -> Job:
        """Raises ApiError naming the parameter at fault."""
        check(request)
        if request.store and self._store is None:
            raise unsupported("store", "Nothing is stored here: start the server with --response-store.")
        earlier = await self._earlier(request, call.client)
        tools = offered(request.tools or ())
        chat = chat_request(request, [msgspec.convert(item, Item) for item in earlier], tools)

        def finished(response: dict[str, Any]) -> None:
            if request.store and self._store is not None:
                own = [msgspec.to_builtins(item) for item in items_of(request)]
                self._store.put(Kept(call.client, response, [*earlier, *own, *response["output"]]))

        def writer(job: Job) -> ResponsesWriter:
            return ResponsesWriter(job, request, {tool.name: tool for tool in tools}, finished)

        return await chat_job(chat, frontend, writer, "resp_")

    async def _earlier(self, request: ResponsesRequest, client: str) -> list[dict[str, Any]]:
        if request.previous_response_id is None:
            return []
        if self._store is None:
            text = "Nothing is stored here: send the whole conversation, or start the server with --response-store."
            raise unsupported("previous_response_id", text)
        return (await self.kept(request.previous_response_id, client)).items

    async def kept(self, id_: str, client: str) -> Kept:
        """ApiError, 404, without it."""
        kept = await self._store.find(id_, client) if self._store is not None else None
        if kept is None:
            text = f"No response '{id_[:100]}' is stored here."
            raise ApiError(404, text, param="previous_response_id", code="response_not_found")
        return kept

    async def delete(self, id_: str, client: str) -> None:
        """ApiError, 404, without it."""
        await self.kept(id_, client)
        assert self._store is not None
        self._store.delete(id_, client)


def add_kept(app: FastAPI, responses: Responses) -> None:
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "No such response is stored"}}

    @app.get("/v1/responses/{response_id}", tags=["inference"], responses=missing)
    async def get(response_id: str, request: Request) -> Response:
        """A response that was stored."""
        kept = await responses.kept(response_id, client_of(request.scope))
        return json_response(kept.response)

    @app.delete("/v1/responses/{response_id}", tags=["inference"], responses=missing)
    async def delete(response_id: str, request: Request) -> Response:
        """Forgets a response."""
        await responses.delete(response_id, client_of(request.scope))
        return json_response({"id": response_id, "object": "response", "deleted": True})
