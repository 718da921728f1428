"""Requests to the Hugging Face Hub, through huggingface_hub's session, tokens and proxies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from huggingface_hub import HfApi, ModelInfo, constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from stoker.deadline import DeadlinePassedError, within
from stoker.errors import HubUnreachableError
from stoker.json_text import parse_json
from stoker.resolve.checkpoint import is_small
from stoker.resolve.hub_cache import is_commit
from stoker.resolve.hub_errors import HTTPError, translate, unreachable
from stoker.resolve.partial_file import RemoteFile
from stoker.resolve.reference import HubRepository
from stoker.resolve.safetensors_header import LENGTH_BYTES, Header, header_length, parse_header
from stoker.version import __version__

T = TypeVar("T")
# Of a listing: the largest repositories have some ten thousand files, at about 300 bytes each.
_LISTING_BYTES = 32 << 20
_ERROR_BYTES = 1 << 16
_ANSWER_SECONDS = 60.0
_MOST_BYTES = 1 << 50
_LONGEST_ETAG = 128
# Enough for the header of nearly every file, so that one request does.
_HEADER_GUESS_BYTES = 1 << 16


@dataclass(frozen=True)
class Listing:
    """A repository's files at one commit."""

    commit: str
    files: Mapping[str, RemoteFile]


def hub_endpoint() -> str:
    """Of the hub that HF_ENDPOINT names, without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


class HubClient:
    """Reads one repository; the endpoint is HF_ENDPOINT's, the token HF_TOKEN's. Raises StokerErrors only."""

    def __init__(self, repository: HubRepository) -> None:
        self.endpoint = hub_endpoint()
        self._repository = repository
        self._api = HfApi(endpoint=self.endpoint, library_name="stoker", library_version=__version__)

    def listing(self) -> Listing:
        """Asks for the commit of the revision and what it holds, in one request."""
        try:
            info = ModelInfo(**self._model_info())  # type: ignore[no-untyped-call]
            if info.sha is None or not is_commit(info.sha):
                raise self._no_hub("its answer names no commit")
            files = [self._remote_file(sibling, info.sha) for sibling in info.siblings or ()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._no_hub(f"its answer makes no sense ({type(error).__name__}: {str(error)[:200]})") from error
        return Listing(info.sha, {file.name: file for file in files if file is not None})

    def _model_info(self) -> dict[str, object]:
        """https://huggingface.co/docs/hub/api. What huggingface_hub's own method would ask, but bounded."""
        revision = quote(self._repository.revision, safe="")
        url = f"{self.endpoint}/api/models/{self._repository.id}/revision/{revision}?blobs=true"
        found = parse_json(self._in_time(lambda: self._document(url)))
        if not isinstance(found, dict):
            raise TypeError("it is not an object")
        return found

    def _document(self, url: str) -> bytes:
        headers = {**_headers(), "Accept-Encoding": "identity"}
        timeout = constants.HF_HUB_ETAG_TIMEOUT
        with self._translated(), get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            self._bound(response, _LISTING_BYTES)
            hf_raise_for_status(response)
            return b"".join(response.iter_raw())

    def _bound(self, response: Any, limit: int) -> None:
        """Whoever reads the body gets no more than `limit` bytes, none of them unpacked."""
        if response.headers.get("Content-Encoding", "identity") not in ("", "identity"):
            raise self._no_hub("it compresses what it sends")
        response.stream = _Bounded(response.stream, limit, lambda: self._no_hub(f"it sends more than {limit:,} bytes"))

    def _in_time(self, work: Callable[[], T]) -> T:
        try:
            return within(_ANSWER_SECONDS, work)
        except DeadlinePassedError as error:
            raise unreachable(self.endpoint, str(error)) from error

    def _no_hub(self, why: str) -> HubUnreachableError:
        return HubUnreachableError(
            f"{self.endpoint} does not answer as a model hub", why=why, remedy="check HF_ENDPOINT and the proxies"
        )

    def _remote_file(self, sibling: Any, commit: str) -> RemoteFile | None:
        """Files of sub-folders are not part of a model, except the few that are named."""
        name = sibling.rfilename
        if not isinstance(name, str) or name in ("", ".", "..") or any(character < " " for character in name):
            raise ValueError(f"it names a file {name!r}"[:200])
        if ("/" in name or "\\" in name) and not is_small(name):
            return None
        etag = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        if _is_hash(etag) and sibling.size is not None:
            return RemoteFile(sibling.rfilename, _size(sibling.size), etag)
        if sibling.rfilename.endswith((".json", ".jinja", ".safetensors")):
            return self._remote_file_by_head(sibling.rfilename, commit)
        return RemoteFile(sibling.rfilename, 0, "")  # never fetched, only named in errors

    def _remote_file_by_head(self, name: str, commit: str) -> RemoteFile:
        """For mirrors whose listing gives names only."""
        metadata = self._in_time(lambda: self._metadata(name, commit))
        if metadata.size is None or not _is_hash(metadata.etag):
            raise HubUnreachableError(
                f"{self.endpoint} reports neither size nor hash of {name}", remedy="check HF_ENDPOINT"
            )
        return RemoteFile(name, _size(metadata.size), metadata.etag)

    def _metadata(self, name: str, commit: str) -> Any:
        with self._translated():
            return self._api.get_hf_file_metadata(url=self._url(name, commit), timeout=constants.HF_HUB_ETAG_TIMEOUT)

    def _url(self, name: str, commit: str) -> str:
        return hf_hub_url(self._repository.id, name, revision=commit, endpoint=self.endpoint)

    @contextmanager
    def open_range(
        self, name: str, commit: str, start: int, end: int | None = None
    ) -> Iterator[tuple[int, Iterable[bytes]]]:
        """Yields the offset that the bytes really begin at, and the bytes; `end` is exclusive."""
        headers = {**_headers(), "Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with (
            self._translated(),
            get_session().stream("GET", self._url(name, commit), headers=headers, timeout=timeout) as response,
        ):
            if response.status_code >= 400:
                self._bound(response, _ERROR_BYTES)
            hf_raise_for_status(response)
            yield (start if response.status_code == 206 else 0), response.iter_bytes()

    def header(self, file: RemoteFile, commit: str) -> Header:
        """A safetensors file's header, without its tensors."""
        text = self._read(file, commit, 0, min(file.size, _HEADER_GUESS_BYTES))
        end = LENGTH_BYTES + header_length(text[:LENGTH_BYTES], file.size, file.name)
        if end > len(text):
            text += self._read(file, commit, len(text), end)
        return parse_header(text[LENGTH_BYTES:end], file.size, file.name)

    def small_json(self, file: RemoteFile, commit: str) -> dict[str, object]:
        """A small file's object; empty where it is none."""
        try:
            found = parse_json(self._read(file, commit, 0, min(file.size, _HEADER_GUESS_BYTES)))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def head(self, file: RemoteFile, commit: str, size: int) -> bytes:
        """The beginning of a file, at most `size` bytes; empty where its size is not known."""
        return self._read(file, commit, 0, min(file.size, size)) if file.size else b""

    def _read(self, file: RemoteFile, commit: str, start: int, end: int) -> bytes:
        received = b""
        with self.open_range(file.name, commit, start, end) as (offset, chunks):
            for chunk in chunks:
                received += chunk
                if offset + len(received) >= end:
                    break
        return received[start - offset : end - offset]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (HTTPError, ConnectionError, TimeoutError) as error:
            raise translate(error, self._repository, self.endpoint) from error


def _headers() -> dict[str, str]:
    return dict(build_hf_headers(library_name="stoker", library_version=__version__))


def _is_hash(etag: object) -> bool:
    return isinstance(etag, str) and etag.isascii() and etag.isalnum() and len(etag) <= _LONGEST_ETAG


def _size(size: object) -> int:
    if type(size) is not int or not 0 <= size <= _MOST_BYTES:
        raise ValueError(f"it says that a file has {size!r} bytes"[:200])
    return size


# The HTTP library under huggingface_hub: httpx, or httpx2.
_ByteStream: Any = sys.modules[HTTPError.__module__.partition(".")[0]].SyncByteStream


class _Bounded(_ByteStream):  # type: ignore[misc]
    """A body that ends in `error` where it is longer than `limit` bytes."""

    def __init__(self, stream: Any, limit: int, error: Callable[[], Exception]) -> None:
        self._stream = stream
        self._limit = limit
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for piece in self._stream:
            left -= len(piece)
            if left < 0:
                raise self._error()
            yield piece

    def close(self) -> None:
        self._stream.close()


class CommitSource:
    """What download.Download reads from."""

    def __init__(self, client: HubClient, commit: str) -> None:
        self._client = client
        self._commit = commit

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterable[bytes]]]:
        with self._client.open_range(file.name, self._commit, start) as opened:
            yield opened
