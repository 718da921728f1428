"""/v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from typing import Any

from stoker.serve.anthropic.answers import MessagesWriter
from stoker.serve.anthropic.requests import CountRequest, MessagesRequest
from stoker.serve.anthropic.translation import chat_request, parsed
from stoker.serve.chat import conversation
from stoker.serve.frontend import Frontend
from stoker.serve.job import Job
from stoker.serve.limits import Call
from stoker.serve.preparation import chat_job, check_model


async def prepare_message(body: bytes, frontend: Frontend, _: Call) -> Job:
    """Raises ApiError naming the parameter at fault."""
    request = parsed(body, MessagesRequest)
    return await chat_job(chat_request(request, frontend), frontend, MessagesWriter, "msg_")


async def count_tokens(body: bytes, frontend: Frontend) -> dict[str, Any]:
    """Raises ApiError naming the parameter at fault."""
    request = parsed(body, CountRequest)
    check_model(request.model, frontend)
    said = await conversation(chat_request(request, frontend), frontend)
    return {"input_tokens": len(said.prompt)}
