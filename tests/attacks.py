"""Attacks on a served model, each bounded in number and in time, and against this machine only.

`python -m tests.attacks watch URL KEY` reports, once its input ends, the longest that a health answer and a small
request of KEY took meanwhile.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 60.0  # the longest wait for one answer
MEGABYTE = 1 << 20
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


@dataclass(frozen=True)
class Target:
    url: str
    key: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname in ("127.0.0.1", "localhost")
        return parts.hostname, parts.port or 80

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.address, timeout=SECONDS)
        connection.settimeout(SECONDS)
        return connection

    def head(self, path: str, length: int, *more: str) -> bytes:
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.key}", *more]
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()

    def post(self, path: str, body: bytes | dict[str, Any]) -> int:
        """The status; 0 where the connection ended without one."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=SECONDS)) as connection:
            try:
                connection.request("POST", path, content, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return 0
            return answer.status


Attack = Callable[[Target], set[int]]
"""The statuses that it was answered with; 0 for connections that were ended without one."""


def status_of(connection: socket.socket) -> int:
    try:
        start = connection.recv(12)
    except OSError:
        return 0
    return int(start[9:12]) if start[9:12].isdigit() else 0


def together(number: int, work: Callable[[], int]) -> set[int]:
    with ThreadPoolExecutor(number) as pool:
        return set(pool.map(lambda _: work(), range(number)))


def endless_headers(target: Target) -> set[int]:
    """Ten connections whose header value does not end."""

    def one() -> int:
        with target.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nX: ")
                for _ in range(120):
                    connection.sendall(b"a" * MEGABYTE)
            return status_of(connection)

    return together(10, one)


def many_headers(target: Target) -> set[int]:
    def one() -> int:
        with target.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500_000)
            return status_of(connection)

    return together(10, one)


def idle_connections(target: Target) -> set[int]:
    """Far more than a service has clients, and half of them with a request that has begun."""
    connections = []
    statuses = set()
    for number in range(3000):
        try:
            connections.append(target.connect())
            if number % 2:
                connections[-1].sendall(b"GET / HTTP/1.1\r\nX: ")
        except OSError:
            statuses.add(0)
    time.sleep(2)
    for connection in connections:
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            statuses.add(status_of(connection))
        connection.close()
    return statuses


def lists_as_prompts(target: Target) -> set[int]:
    body = b'{"model": "demo", "prompt": [' + b",".join([b"[]"] * 2_000_000) + b"]}"
    return together(4, lambda: target.post("/v1/completions", body))


def million_prompts(target: Target) -> set[int]:
    body = b'{"model": "demo", "prompt": [' + b",".join([b'"a"'] * 1_000_000) + b"]}"
    return together(4, lambda: target.post("/v1/completions", body))


def long_chats(target: Target) -> set[int]:
    text = "The old man went down to the sea. " * (7 * MEGABYTE // 34)
    body = json.dumps({**CHAT, "messages": [{"role": "user", "content": text}]}).encode()
    return together(8, lambda: target.post("/v1/chat/completions", body))


def long_texts(target: Target) -> set[int]:
    found = set()
    for text in ("a" * 7 * MEGABYTE, " " * 7 * MEGABYTE, "\u4f60\u597d" * MEGABYTE):
        body = json.dumps({"model": "demo", "prompt": text}, ensure_ascii=False).encode()
        found |= together(4, lambda body=body: target.post("/v1/completions", body))  # type: ignore[misc]
        found |= together(4, lambda body=body: target.post("/tokenize", body))  # type: ignore[misc]
    return found


def large_tools(target: Target) -> set[int]:
    properties = {f"name{each}": {"type": "integer", "minimum": 123456789} for each in range(60_000)}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}
    body = json.dumps({**CHAT, "tools": [tool]}).encode()
    return together(4, lambda: target.post("/v1/chat/completions", body))


def slow_bodies(target: Target) -> set[int]:
    """Large bodies of which most never comes."""

    def one() -> int:
        with target.connect() as connection:
            connection.sendall(target.head("/v1/completions", 8 * MEGABYTE))
            try:
                connection.settimeout(5)
                connection.sendall(b" " * 7 * MEGABYTE)
                connection.recv(1)
            except OSError:
                return 0
            return 1

    return together(64, one)


EXPRESSIONS = [
    *("(((.{0,65}){0,65}){0,65}){0,65}", "(.*)*" * 20, "((((a?){0,99}b?){0,99}c?){0,99}d?){0,99}", "((.*)*)*"),
    *("([a-z]*b?)*" * 10, "(.{0,30}){0,30}", "(\\w+ ?){1,400}", "((a|b)?c?){0,900}", "(.*a){50}.*"),
]
GRAMMARS = [
    "root ::= [a-z] root? root? root? root?",
    "root ::= a a a a\na ::= b{0,60}\nb ::= c{0,60}\nc ::= [a-z]{0,60}",
    "root ::= [a-z] (root){0,40}",
    'root ::= (([a-z]* "b"?)* ([a-z]* "c"?)*)*',
]
SCHEMAS: list[Any] = [
    {"type": "integer", "minimum": 10**400},
    {"type": "string", "maxLength": 10**400},
    {"type": "string", "pattern": EXPRESSIONS[0]},
    {"anyOf": [{"type": "string", "pattern": f".*{number}[a-z]*"} for number in range(200)]},
    {"oneOf": [{"properties": {"k": {"const": number}}, "required": ["k"]} for number in range(3000)]},
    {"enum": list(range(100_000))},
    {"type": "object", "properties": {f"name{each}": {"type": "string"} for each in range(20_000)}},
]


def guides(target: Target) -> set[int]:
    wanted = [{"guided_regex": each} for each in EXPRESSIONS]
    wanted += [{"guided_grammar": each} for each in GRAMMARS] + [{"guided_json": each} for each in SCHEMAS]
    with ThreadPoolExecutor(8) as pool:
        return set(
            pool.map(lambda each: target.post("/v1/chat/completions", {**CHAT, "max_tokens": 48, **each}), wanted)
        )


def unread_answers(target: Target) -> set[int]:
    """Clients that ask for large answers, several at once on each connection, and read none."""
    body = json.dumps({"prompt": "a b " * 30_000, "return_token_strs": True}).encode()
    request = target.head("/tokenize", len(body)) + body
    connections = [target.connect() for _ in range(80)]
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(2)
        with contextlib.suppress(OSError):
            connection.sendall(request * 4)
    time.sleep(15)
    statuses = set()
    for connection in connections:
        statuses.add(status_of(connection))
        connection.close()
    return statuses


ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (
        *(endless_headers, many_headers, idle_connections, slow_bodies, lists_as_prompts, million_prompts),
        *(long_chats, long_texts, large_tools, guides, unread_answers),
    )
}


def memory_of(pid: int) -> int:
    """Bytes of a process and of all below it."""
    total = 0
    pending = [pid]
    while pending:
        one = pending.pop()
        with contextlib.suppress(OSError, IndexError, ValueError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * 4096
            for task in Path(f"/proc/{one}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
    return total


class Peak(threading.Thread):
    """The most memory that a process and its children had together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.rest = self.most = memory_of(pid)

    def run(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, memory_of(self._pid))

    def end(self) -> int:
        self._over.set()
        self.join()
        return self.most - self.rest


@contextlib.contextmanager
def watching(url: str, key: str) -> Iterator[dict[str, float]]:
    """Filled in at the end: seconds of the longest health answer and small request."""
    command = [sys.executable, "-m", "tests.attacks", "watch", url, key]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = {}
    try:
        yield found
    finally:
        told, _ = process.communicate(timeout=2 * SECONDS)
        found.update(json.loads(told))


def watch(url: str, key: str) -> None:
    over = threading.Event()
    longest = {"health": 0.0, "request": 0.0, "failed": 0.0}
    target = Target(url, key)

    def repeat(name: str, ask: Callable[[], bool]) -> None:
        while not over.is_set():
            began = time.perf_counter()
            try:
                longest["failed"] += not ask()
            except (OSError, http.client.HTTPException):
                longest["failed"] += 1
            longest[name] = max(longest[name], time.perf_counter() - began)
            time.sleep(0.02)

    def health() -> bool:
        with contextlib.closing(http.client.HTTPConnection(*target.address, timeout=SECONDS)) as connection:
            connection.request("GET", "/v1/health/live")
            return connection.getresponse().status == 200

    threads = [
        threading.Thread(target=repeat, args=("health", health)),
        threading.Thread(target=repeat, args=("request", lambda: target.post("/v1/chat/completions", CHAT) == 200)),
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps({name: round(value, 3) for name, value in longest.items()}))


if __name__ == "__main__":
    watch(*sys.argv[2:4])
