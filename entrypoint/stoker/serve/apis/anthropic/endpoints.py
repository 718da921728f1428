"""/v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from stoker.serve.apis.anthropic.answers import MessagesWriter
from stoker.serve.apis.anthropic.requests import CountRequest, MessagesRequest
from stoker.serve.apis.anthropic.translation import chat_request, check
from stoker.serve.http.limits import Call
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.chat import conversation
from stoker.serve.request.job import Job
from stoker.serve.request.preparation import chat_job, check_model
from stoker.serve.request.tokenization import check_count


async def prepare_message(request: MessagesRequest, frontend: Frontend, _: Call) -> Job:
    """`max_tokens` is a limit: an answer that may be longer than the context holds ends with the context. Raises
    ApiError naming the parameter at fault."""
    check(request)

    def writer(job: Job) -> MessagesWriter:
        return MessagesWriter(job, request.max_tokens)

    return await chat_job(chat_request(request, frontend), frontend, writer, "msg_", capped=True)


async def count_tokens(request: CountRequest, frontend: Frontend) -> dict[str, object]:
    """Raises ApiError naming the parameter at fault."""
    check(request)
    check_model(request.model, frontend)
    said = await conversation(chat_request(request, frontend), frontend, frontend.context.longest_counted)
    check_count(len(said.prompt), "messages", frontend)
    return {"input_tokens": len(said.prompt)}
