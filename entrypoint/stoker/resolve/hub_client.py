"""Requests to the Hugging Face Hub, through huggingface_hub's session, tokens and proxies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

from huggingface_hub import HfApi, ModelInfo, constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from stoker.errors import HubUnreachableError
from stoker.resolve.checkpoint import is_small
from stoker.resolve.hub_cache import is_commit
from stoker.resolve.hub_errors import HTTPError, translate
from stoker.resolve.partial_file import RemoteFile
from stoker.resolve.reference import HubRepository
from stoker.resolve.safetensors_header import LENGTH_BYTES, Header, header_length, parse_header
from stoker.version import __version__

# Enough for the header of nearly every file, so that one request does.
_HEADER_GUESS_BYTES = 1 << 16


@dataclass(frozen=True)
class Listing:
    """A repository's files at one commit."""

    commit: str
    files: Mapping[str, RemoteFile]


class HubClient:
    """Reads one repository; the endpoint is HF_ENDPOINT's, the token HF_TOKEN's. Raises StokerErrors only."""

    def __init__(self, repository: HubRepository) -> None:
        self.endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._repository = repository
        self._api = HfApi(endpoint=self.endpoint, library_name="stoker", library_version=__version__)

    def listing(self) -> Listing:
        """Asks for the commit of the revision and what it holds, in one request."""
        info = self._model_info()
        if info.sha is None or not is_commit(info.sha):
            raise self._no_hub("it tells no commit")
        files = (self._remote_file(sibling, info.sha) for sibling in info.siblings or ())
        return Listing(info.sha, {file.name: file for file in files if file is not None})

    def _model_info(self) -> ModelInfo:
        timeout = constants.HF_HUB_ETAG_TIMEOUT
        revision = self._repository.revision
        try:
            with self._translated():
                return self._api.model_info(
                    self._repository.id, revision=revision, files_metadata=True, timeout=timeout
                )
        except (ValueError, KeyError, TypeError) as error:
            raise self._no_hub(f"its answer makes no sense ({error})") from error

    def _no_hub(self, why: str) -> HubUnreachableError:
        return HubUnreachableError(
            f"{self.endpoint} does not answer as a model hub", why=why, remedy="check HF_ENDPOINT and the proxies"
        )

    def _remote_file(self, sibling: Any, commit: str) -> RemoteFile | None:
        """Files of sub-folders are no part of a model, but for the few that are called for by name."""
        name = sibling.rfilename
        if ("/" in name or "\\" in name) and not is_small(name):
            return None
        etag = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        if isinstance(etag, str) and etag.isalnum() and _is_size(sibling.size):
            return RemoteFile(sibling.rfilename, sibling.size, etag)
        if sibling.rfilename.endswith((".json", ".jinja", ".safetensors")):
            return self._remote_file_by_head(sibling.rfilename, commit)
        return RemoteFile(sibling.rfilename, 0, "")  # never fetched, only named in errors

    def _remote_file_by_head(self, name: str, commit: str) -> RemoteFile:
        """For mirrors whose listing gives names only."""
        with self._translated():
            metadata = self._api.get_hf_file_metadata(
                url=self._url(name, commit), timeout=constants.HF_HUB_ETAG_TIMEOUT
            )
        if not _is_size(metadata.size) or metadata.etag is None or not metadata.etag.isalnum():
            raise HubUnreachableError(
                f"{self.endpoint} tells neither size nor hash of {name}", remedy="check HF_ENDPOINT"
            )
        return RemoteFile(name, metadata.size, metadata.etag)

    def _url(self, name: str, commit: str) -> str:
        return hf_hub_url(self._repository.id, name, revision=commit, endpoint=self.endpoint)

    @contextmanager
    def open_range(
        self, name: str, commit: str, start: int, end: int | None = None
    ) -> Iterator[tuple[int, Iterable[bytes]]]:
        """Yields the offset that the bytes really begin at, and the bytes; `end` is exclusive."""
        headers = build_hf_headers(library_name="stoker", library_version=__version__)
        headers["Accept-Encoding"] = "identity"
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with (
            self._translated(),
            get_session().stream("GET", self._url(name, commit), headers=headers, timeout=timeout) as response,
        ):
            hf_raise_for_status(response)
            yield (start if response.status_code == 206 else 0), response.iter_bytes()

    def header(self, file: RemoteFile, commit: str) -> Header:
        """A safetensors file's header, without its tensors."""
        text = self._read(file, commit, 0, min(file.size, _HEADER_GUESS_BYTES))
        end = LENGTH_BYTES + header_length(text[:LENGTH_BYTES], file.size, file.name)
        if end > len(text):
            text += self._read(file, commit, len(text), end)
        return parse_header(text[LENGTH_BYTES:end], file.size, file.name)

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


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


class CommitSource:
    """What download.Download reads from."""

    def __init__(self, client: HubClient, commit: str) -> None:
        self._client = client
        self._commit = commit

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterable[bytes]]]:
        with self._client.open_range(file.name, self._commit, start) as opened:
            yield opened
