"""A server on loopback that answers every request in one hostile way."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = b"0" * (1 << 16)
Way = Callable[[bytes], Iterator[bytes]]


def mute(request: bytes) -> Iterator[bytes]:
    time.sleep(60)
    yield b""


def hangs_up(request: bytes) -> Iterator[bytes]:
    yield b""


def dripping_header(request: bytes) -> Iterator[bytes]:
    yield OK
    for _ in range(600):
        time.sleep(0.1)
        yield b"X"


def dripping_body(request: bytes) -> Iterator[bytes]:
    yield OK + b"Content-Length: 1000000\r\n\r\n"
    for _ in range(600):
        time.sleep(0.1)
        yield b" "


def endless_header(request: bytes) -> Iterator[bytes]:
    yield OK + b"X: "
    for _ in range(50_000):
        yield BLOCK


def endless_continue(request: bytes) -> Iterator[bytes]:
    for _ in range(600):
        time.sleep(0.1)
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


def endless_body(request: bytes) -> Iterator[bytes]:
    yield OK + b"\r\n"
    for _ in range(50_000):  # 3 GB
        yield BLOCK


def endless_chunk_length(request: bytes) -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(50_000):
        yield BLOCK


def gzip_bomb(request: bytes) -> Iterator[bytes]:
    bomb = gzip.compress(gzip.compress(bytes(1 << 30), 9), 9)
    yield OK + b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb


def gzipped(request: bytes) -> Iterator[bytes]:
    bomb = gzip.compress(bytes(300 << 20), 9)
    yield OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb


def redirects(request: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"


def redirects_to_a_file(request: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"


def no_http(request: bytes) -> Iterator[bytes]:
    yield b"SSH-2.0-OpenSSH_9.2\r\n"


def wants_a_token_from_elsewhere(request: bytes) -> Iterator[bytes]:
    challenge = b'WWW-Authenticate: Bearer realm="http://192.0.2.1/token",service="x"\r\n'
    yield b"HTTP/1.1 401 Unauthorized\r\n" + challenge + b"Content-Length: 0\r\n\r\n"


def overloaded(request: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 99999\r\nContent-Length: 0\r\n\r\n"


def document(body: bytes) -> Way:
    def answer(request: bytes) -> Iterator[bytes]:
        yield OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    answer.__name__ = f"document {body[:20]!r}"
    return answer


CONFIGS: tuple[object, ...] = (None, 7, [], {}, {"digest": 7}, {"digest": "md5:x"})
DOCUMENTS = tuple(
    document(body)
    for body in (
        *(b"", b"null", b"[]", b"{", b'"x"', b"\xff\xfe", b"7" * 5000, b"NaN", b"[" * 200_000),
        b'{"config":' * 100_000,
        *(json.dumps({"config": config}).encode() for config in CONFIGS),
        json.dumps({"schema": 2, "sha256": "x", "files": 7}).encode(),
    )
)
WAYS = (
    *(mute, hangs_up, dripping_header, dripping_body, endless_header, endless_continue, endless_body),
    *(endless_chunk_length, gzip_bomb, gzipped, redirects, redirects_to_a_file, no_http),
    *(wants_a_token_from_elsewhere, overloaded),
)


class HostileServer:
    def __init__(self, way: Way) -> None:
        self._way = way
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (data := client.recv(1 << 16)):
                    return
                request += data
            for piece in self._way(request):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """A socket that is only closed listens on for a thread that waits for it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
