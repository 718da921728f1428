"""The load client against a server of a few lines, that sends what a test tells it to."""

import asyncio
import json
from collections.abc import Callable

import pytest

from stoker.bench.load import _Answer, run_round
from stoker.bench.prompts import Prompts, request_body
from stoker.bench.statistics import Round, Sample
from stoker.errors import EngineError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
TEXT = b'data: {"choices":[{"index":0,"text":"a\\n\\nb","finish_reason":null}],"usage":null}\n\n'
CLOSING = b'data: {"choices":[{"index":0,"text":"","finish_reason":"length"}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":6,"total_tokens":14}}\n\n'
DONE = b"data: [DONE]\n\n"


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def answer(*bodies: bytes) -> bytes:
    return HEAD + b"".join(map(chunked, bodies)) + b"0\r\n\r\n"


def load(pieces: list[bytes], streams: int = 2, requests: int = 2) -> tuple[Round, list[dict]]:
    """The round, and the bodies that the server was sent."""
    received: list[dict] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
        received.append(json.loads(await reader.readexactly(length)))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def run() -> Round:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            prompts = Prompts(100, 8, 4)
            bodies = [[request_body("m", prompts.take(), 6) for _ in range(requests)] for _ in range(streams)]
            return await run_round("127.0.0.1", port, bodies)

    return asyncio.run(run()), received


def test_every_request_of_every_stream_is_counted_by_its_usage() -> None:
    found, received = load([answer(TEXT, TEXT + TEXT, TEXT + CLOSING, USAGE + DONE)])
    assert [sample.tokens for sample in found.samples] == [6] * 4
    assert all(0 < sample.first <= sample.last <= found.seconds for sample in found.samples)
    assert len(received) == 4
    assert all(each["ignore_eos"] and each["max_tokens"] == 6 for each in received)


def test_an_answer_in_single_bytes_reads_the_same() -> None:
    async def fed() -> Sample:
        client = _Answer(b"")
        for byte in answer(TEXT, TEXT + CLOSING, USAGE, DONE):
            client.data_received(bytes([byte]))
        return await client.done

    found = asyncio.run(fed())
    assert found.tokens == 6
    assert found.first < found.last


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nwrong it!", "status 400"),
        (answer(TEXT, b'data: {"error":{"message":"it died"}}\n\n', DONE), "did not answer"),
        (HEAD + chunked(TEXT), "in the middle of an answer"),
        (answer(TEXT, USAGE), "did not answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP"),
        (b"", "in the middle of an answer"),
    ],
)
def test_anything_but_a_whole_answer_is_an_error(sent: bytes, told: str) -> None:
    with pytest.raises(EngineError, match=told):
        load([sent])


@pytest.mark.parametrize(
    "make", [lambda: Prompts(1000, 20, 0), lambda: Prompts(1000, 20, 12), lambda: Prompts(4, 20, 0)]
)
def test_prompts_have_their_length_and_stay_in_the_vocabulary(make: Callable[[], Prompts]) -> None:
    prompts = make()
    assert {len(prompts.take()) for _ in range(5)} == {20}
    assert all(0 <= id_ < prompts._vocabulary for id_ in prompts.take())


def test_prompts_share_what_they_should_and_no_more() -> None:
    prompts, others = Prompts(100_000, 20, 12), Prompts(100_000, 20, 12)
    first, second, other = prompts.take(), prompts.take(), others.take()
    assert first[:12] == second[:12]
    assert first[12:] != second[12:]
    assert first[:12] != other[:12]
