"""The endpoint: as /v1/completions is admitted, counted and measured, with ids instead of text."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from stoker.serve.apis.tokens.requests import TokensRequest, completion_of
from stoker.serve.generate.inference import Endpoint, Exchange
from stoker.serve.generate.tokens import TokenPiece, token_answer
from stoker.serve.http.errors import ApiError
from stoker.serve.http.outbox import outbox
from stoker.serve.operate.service import Service
from stoker.serve.request.job import Job
from stoker.serve.request.preparation import prepare_completion
from stoker.serve.request.purpose import TEXT
from stoker.serve.request.requests import CompletionRequest

Events = AsyncGenerator[tuple[int, TokenPiece], None]


class TokenInference(Endpoint[TokensRequest]):
    def __init__(self, service: Service) -> None:
        super().__init__(TokensRequest, service, TEXT)

    async def _answer(self, request: TokensRequest, exchange: Exchange) -> None:
        frontend = exchange.serving.frontend
        job = await _prepared(completion_of(request, frontend), exchange)
        exchange.upload.done()
        answer = _Answer(request, job)
        events = token_answer(self._service, exchange.serving, job, exchange.call, exchange.record.measured)
        async with aclosing(events):
            if not request.stream:
                await exchange.reply.whole(200, await answer.whole(events))
                return
            async with outbox(exchange.reply.stream) as box:
                async for piece in answer.stream(events):
                    box.put(piece)
        await exchange.reply.end()


async def _prepared(wanted: CompletionRequest, exchange: Exchange) -> Job:
    """ApiError names the ids as this route does."""
    try:
        return await prepare_completion(wanted, exchange.serving.frontend, exchange.call)
    except ApiError as error:
        if error.param and error.param.startswith("prompt"):
            error.param = "token_ids" + error.param.removeprefix("prompt")
        raise


class _Answer:
    """Writes one answer. `said`: each choice's pieces so far."""

    def __init__(self, request: TokensRequest, job: Job) -> None:
        self._request = request
        self._job = job
        self._id = request.request_id or uuid.uuid4().hex
        self._said: list[list[TokenPiece]] = [[] for _ in job.generations]

    async def whole(self, events: Events) -> bytes:
        async for index, piece in events:
            self._said[index].append(piece)
        document = {
            "request_id": self._id,
            "created": int(time.time()),
            "model": self._job.identity.model,
            "output_mode": "tokens",
            "choices": [self._choice(index, said) for index, said in enumerate(self._said)],
            "usage": self._usage(),
            **self._prompt(),
        }
        return msgspec.json.encode(document)

    async def stream(self, events: Events) -> AsyncGenerator[bytes, None]:
        prompt = self._prompt()
        async for index, piece in events:
            self._said[index] = [piece]  # the last has the count
            if piece.ids or piece.finish_reason:
                choices = [self._choice(index, [piece])]
                usage = {"usage": self._usage()} if self._job.usage_always else {}
                yield self._event(choices=choices, **usage, **prompt)
                prompt = {}
        options = self._request.stream_options
        if options is not None and options.include_usage:
            yield self._event(choices=[], usage=self._usage())
        yield b"data: [DONE]\n\n"

    def _event(self, **content: object) -> bytes:
        return b"data: " + msgspec.json.encode({"request_id": self._id, "output_mode": "tokens", **content}) + b"\n\n"

    def _prompt(self) -> dict[str, object]:
        return {"prompt_token_ids": self._request.token_ids} if self._request.return_token_ids else {}

    def _usage(self) -> dict[str, int]:
        prompt, tokens = self._job.prompt_tokens, sum(said[-1].tokens for said in self._said if said)
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}

    def _choice(self, index: int, said: Sequence[TokenPiece]) -> dict[str, object]:
        return {
            "index": index,
            "token_ids": [id_ for piece in said for id_ in piece.ids],
            "logprobs": {"content": _log_probs(said)} if self._job.log_probs else None,
            "finish_reason": said[-1].finish_reason,
            "stop_reason": None,
        }


def _log_probs(said: Sequence[TokenPiece]) -> list[dict[str, object]]:
    return [entry for piece in said for entry in _entries(piece)]


def _entries(piece: TokenPiece) -> list[dict[str, object]]:
    top = piece.top or [()] * len(piece.ids)
    return [
        {
            "token_id": id_,
            "logprob": value,
            "top_logprobs": [{"token_id": other, "logprob": likely} for other, likely in others],
        }
        for id_, value, others in zip(piece.ids, piece.log_probs or (), top, strict=False)
    ]
