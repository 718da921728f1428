"""https://: a web server that has the files, read-only; and what every remote that speaks HTTP takes care of.

What a server sends is bounded: a document by its size, a file by what engine.json says, and neither is unpacked, since
a few kilobytes can unpack to gigabytes. How long it takes is for the callers to bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

from stoker.redaction import redacted
from stoker.store.remotes.remote import CONNECT_SECONDS, DOCUMENT_BYTES, READ_SECONDS, RemoteError, TransientError

CHUNK_BYTES = 1 << 18
_CONNECTIONS = 16
_REDIRECTS = 5
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
T = TypeVar("T")


class _Impatient(HTTPAdapter):  # type: ignore[misc]
    """Gives every request a time limit for connecting and for each read, which `requests` by itself does not."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=_CONNECTIONS)

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, *args, **options)


def new_session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", _Impatient())
    session.mount("https://", _Impatient())
    session.max_redirects = _REDIRECTS
    session.headers["Accept-Encoding"] = "identity"
    return session


@contextmanager
def translated() -> Iterator[None]:
    """What `requests` and urllib3 raise, as RemoteError."""
    try:
        yield
    except (
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ConnectionError,
        requests.exceptions.ReadTimeout,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise TransientError(_short(error)) from error
    except (requests.RequestException, ValueError, OSError) as error:
        raise RemoteError(_short(error)) from error


def _short(error: BaseException) -> str:
    """The innermost cause: `requests` wraps it in three layers of representations."""
    while error.__context__ is not None and not isinstance(error, OSError):
        error = error.__context__
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return redacted(f"{type(error).__name__}: {reason or error}")[:300]


def tried_again(work: Callable[[], T]) -> T:
    """Once more after a moment where the first attempt failed for a passing reason."""
    try:
        return work()
    except TransientError as error:
        time.sleep(min(error.after or _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
        return work()


def check_status(response: requests.Response) -> None:
    status = response.status_code
    if status >= 500 or status == 429:
        raise TransientError(f"it answered with status {status}", _seconds(response.headers.get("Retry-After", "")))
    if status >= 400:
        raise RemoteError(f"it answered with status {status}")


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def document(response: requests.Response, limit: int = DOCUMENT_BYTES) -> bytes:
    """A small body, whole. RemoteError where it is larger than `limit`."""
    body = b""
    for piece in pieces(response):
        body += piece
        if len(body) > limit:
            raise RemoteError(f"it sends more than {limit:,} bytes where a small document was expected")
    return body


def pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes over the network. RemoteError where that is compressed, which nobody asked for.

    By `read`, for which http.client takes chunks apart: urllib3's `stream` would read a chunk's length without limit.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RemoteError(f"it compresses what it sends ({encoding[:20]})")
    with translated():
        while piece := response.raw.read(CHUNK_BYTES, decode_content=False):
            yield piece


def ranged_body(response: requests.Response, start: int, end: int) -> Iterable[bytes]:
    """The wanted bytes, also from a server that ignores ranges and sends the whole file."""
    check_status(response)
    return pieces(response) if response.status_code == 206 else cut(pieces(response), start, end)


def cut(pieces: Iterable[bytes], start: int, end: int) -> Iterator[bytes]:
    offset = 0
    for piece in pieces:
        wanted = piece[max(0, start - offset) : max(0, end - offset)]
        offset += len(piece)
        if wanted:
            yield wanted
        if offset >= end:
            return


class WebTree:
    """A password in the URL is for HTTP's basic authentication; else ~/.netrc is looked into."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = new_session()

    def read(self, path: str) -> bytes | None:
        return tried_again(lambda: self._read(path))

    def _read(self, path: str) -> bytes | None:
        with translated(), self._session.get(f"{self._url}/{path}", stream=True) as response:
            if response.status_code == 404:
                return None
            check_status(response)
            return document(response)

    @contextmanager
    def open(self, path: str, start: int, end: int) -> Iterator[Iterable[bytes]]:
        headers = {"Range": f"bytes={start}-{end - 1}"}
        with translated(), self._session.get(f"{self._url}/{path}", headers=headers, stream=True) as response:
            yield ranged_body(response, start, end)

    def write(self, path: str, source: Path) -> None:  # noqa: ARG002
        raise RemoteError("a web server is only read from")

    def write_bytes(self, path: str, data: bytes) -> None:  # noqa: ARG002
        raise RemoteError("a web server is only read from")
