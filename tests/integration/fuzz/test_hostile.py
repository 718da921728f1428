"""Bodies that are none: each is a 4xx, and the server goes on answering."""

from __future__ import annotations

import http.client
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    "/v1/completions": {"model": "demo", "prompt": "Once", "max_tokens": 2},
    "/v1/responses": {"model": "demo", "input": "Hello", "max_output_tokens": 2},
    "/v1/messages": {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    "/v1/messages/count_tokens": {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]},
    "/tokenize": {"prompt": "Once"},
}
POOLED_BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": "demo", "input": ["Hello"]},
    "/v1/rerank": {"model": "demo", "query": "Hello", "documents": ["Once"]},
    "/rerank": {"model": "demo", "query": "Hello", "documents": ["Once"]},
    "/v1/ranking": {"model": "demo", "query": {"text": "Hello"}, "passages": [{"text": "Once"}]},
}
IN_CI = 10_000
HUGE = 50 << 20


def not_json(chance: random.Random, _: dict[str, Any]) -> bytes:
    return b"\x00" + chance.randbytes(chance.randrange(200))


def cut_short(chance: random.Random, body: dict[str, Any]) -> bytes:
    whole = json.dumps(body).encode()
    return whole[: chance.randrange(len(whole))]


def bad_utf8(chance: random.Random, body: dict[str, Any]) -> bytes:
    bad = chance.choice([b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf0\x28\x8c\x28", b"\x80"])
    return json.dumps({**body, "model": "HERE"}).encode().replace(b"HERE", bad)


def deep(chance: random.Random, body: dict[str, Any]) -> bytes:
    depth = chance.choice([1_100, 10_000, 200_000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
    nested = opening * depth + b"1" + closing * depth
    return json.dumps({**body, "metadata": "HERE"}).encode().replace(b'"HERE"', nested)


def no_number(chance: random.Random, body: dict[str, Any]) -> bytes:
    number = chance.choice(
        [b"NaN", b"-Infinity", b"1e999", b"0x10", b"01", b"1" * 400, b"-" + b"9" * 5000, b"1e-99999x"]
    )
    return json.dumps({**body, "temperature": "HERE"}).encode().replace(b'"HERE"', number)


def huge_number(chance: random.Random, body: dict[str, Any]) -> bytes:
    name = chance.choice([name for name in body if name.startswith("max_")] or list(body))
    value = chance.choice([2**31, 2**63, 2**64, 10**40, -1, -(2**63), 1.5, 1e308])
    return json.dumps({**body, name: value}).encode()


def wrong_type(chance: random.Random, body: dict[str, Any]) -> bytes:
    name = chance.choice([*body, "temperature", "stream", "top_p"])
    wrong = chance.choice([[None], {"": {}}, [[[]]], {"a": [1, {}]}, [1.5, "x"], [{"role": 3}]])
    return json.dumps({**body, name: wrong}).encode()


def unknown_field(chance: random.Random, body: dict[str, Any]) -> bytes:
    name = "".join(chance.choices("abcxyz_\u0000\U0001f525'\"", k=chance.randrange(1, 40)))
    return json.dumps({**body, name: chance.random()}).encode()


def no_object(chance: random.Random, body: dict[str, Any]) -> bytes:
    return json.dumps(chance.choice([None, True, [], [body], "x", 3, [[]] * 50])).encode()


def without_something(chance: random.Random, body: dict[str, Any]) -> bytes:
    needed = chance.choice([name for name in body if not name.startswith("max_")])
    return json.dumps({name: value for name, value in body.items() if name != needed}).encode()


def lone_surrogate(_: random.Random, body: dict[str, Any]) -> bytes:
    return json.dumps(body).replace("Hello", "\\ud800").replace("Once", "\\udfff").encode()


HOSTILE: list[Callable[[random.Random, dict[str, Any]], bytes]] = [
    *(not_json, cut_short, bad_utf8, deep, no_number, huge_number, wrong_type),
    *(unknown_field, no_object, without_something, lone_surrogate),
]


class Sender:
    """One connection, opened again when the server closes it."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._address, timeout=60)

    def post(self, path: str, body: bytes) -> int:
        try:
            self._connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            answer.read()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            raise
        return answer.status

    def close(self) -> None:
        self._connection.close()


def check_refused(url: str, bodies: dict[str, dict[str, Any]], count: int) -> None:
    """Each is a 4xx, and afterwards the bodies themselves are answered."""
    chance = random.Random(5)
    sender = Sender(url)
    seen: Counter[int] = Counter()
    for number in range(count):
        path = chance.choice(list(bodies))
        make = HOSTILE[number % len(HOSTILE)]
        body = make(chance, bodies[path])
        status = sender.post(path, body)
        seen[status] += 1
        assert 400 <= status < 500, (make.__name__, path, status, body[:300])
    statuses = {path: sender.post(path, json.dumps(body).encode()) for path, body in bodies.items()}
    assert statuses == dict.fromkeys(bodies, 200)
    sender.close()
    print(f"{count} hostile bodies: {dict(seen)}")


def test_hostile_bodies_are_refused_and_the_server_goes_on(url: str, cases: int) -> None:
    check_refused(url, BODIES, cases or IN_CI)


def test_hostile_bodies_for_vectors_and_scores_are_refused(pooled: tuple[str, tuple[str, ...]], cases: int) -> None:
    url, own = pooled
    check_refused(url, {path: POOLED_BODIES[path] for path in own}, (cases or IN_CI) // 20)


def test_fifty_megabytes_are_refused_before_they_are_read(url: str) -> None:
    for path in BODIES:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(HUGE))
        connection.endheaders(b'{"model": "')
        assert connection.getresponse().status == 413
        connection.close()


def test_fifty_megabytes_that_were_not_announced_are_refused_too(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    piece = b"x" * (1 << 20)
    status = 0
    try:
        connection.request("POST", "/v1/completions", (piece for _ in range(HUGE >> 20)), encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # it hung up on us, which is as good; the next line says that it still lives
    status = status or connection.getresponse().status
    connection.close()
    assert status == 413
    sender = Sender(url)
    assert sender.post("/v1/completions", json.dumps(BODIES["/v1/completions"]).encode()) == 200
    sender.close()
