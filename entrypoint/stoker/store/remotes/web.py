"""https://: a web server that has the files, read-only. Its ranges, redirects and proxies are those of `requests`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from stoker.store.remotes.remote import CONNECT_SECONDS, READ_SECONDS, RemoteError, TransientError

CHUNK_BYTES = 1 << 18
_CONNECTIONS = 16


class Impatient(HTTPAdapter):  # type: ignore[misc]
    """Gives every request a time limit for connecting and for each read, which `requests` by itself does not."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=_CONNECTIONS)

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, *args, **options)


def impatient(session: requests.Session) -> requests.Session:
    session.mount("http://", Impatient())
    session.mount("https://", Impatient())
    return session


@contextmanager
def translated() -> Iterator[None]:
    """What `requests` raises, as RemoteError."""
    try:
        yield
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout) as error:
        raise TransientError(_short(error)) from error
    except (requests.RequestException, ValueError, OSError) as error:
        raise RemoteError(_short(error)) from error


def _short(error: BaseException) -> str:
    """The innermost cause: `requests` wraps it in three layers of representations."""
    while error.__context__ is not None and not isinstance(error, OSError):
        error = error.__context__
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return f"{type(error).__name__}: {reason or error}"[:300]


def check_status(response: requests.Response) -> None:
    if response.status_code >= 500 or response.status_code == 429:
        raise TransientError(f"it answered with status {response.status_code}")
    if response.status_code >= 400:
        raise RemoteError(f"it answered with status {response.status_code}")


def ranged_body(response: requests.Response, start: int, end: int) -> Iterable[bytes]:
    """The wanted bytes, also from a server that ignores ranges and sends the whole file."""
    check_status(response)
    pieces = response.iter_content(CHUNK_BYTES)
    return pieces if response.status_code == 206 else cut(pieces, start, end)


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
    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = impatient(requests.Session())

    def read(self, path: str) -> bytes | None:
        with translated():
            response = self._session.get(f"{self._url}/{path}")
        if response.status_code == 404:
            return None
        check_status(response)
        return bytes(response.content)

    @contextmanager
    def open(self, path: str, start: int, end: int) -> Iterator[Iterable[bytes]]:
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        with (
            translated(),
            self._session.get(f"{self._url}/{path}", headers=headers, stream=True) as response,
        ):
            yield ranged_body(response, start, end)

    def write(self, path: str, source: Path) -> None:  # noqa: ARG002
        raise RemoteError("a web server is only read from")

    def write_bytes(self, path: str, data: bytes) -> None:  # noqa: ARG002
        raise RemoteError("a web server is only read from")
