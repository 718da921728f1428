"""hf://org/name[@revision][/folder]: a repository of the Hugging Face Hub, with its own tokens and endpoint."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from stoker.redaction import redacted
from stoker.resolve.hub_client import hub_endpoint
from stoker.resolve.hub_errors import HTTPError
from stoker.store.remotes.remote import DOCUMENT_BYTES, READ_SECONDS, RemoteError, TransientError, checked_size
from stoker.store.remotes.web import cut
from stoker.version import __version__


class HubTree:
    def __init__(self, repository: str, revision: str, folder: str) -> None:
        self._repository = repository
        self._revision = revision
        self._folder = f"{folder.strip('/')}/" if folder.strip("/") else ""
        self._endpoint = hub_endpoint()
        self._headers = build_hf_headers(library_name="stoker", library_version=__version__)

    def read(self, path: str) -> bytes | None:
        with _translated(), self._asked(path, {}) as response:
            if response.status_code == 404:
                return None
            _check(response.status_code)
            return checked_size(b"".join(cut(_pieces(response), 0, DOCUMENT_BYTES + 1)))

    @contextmanager
    def open(self, path: str, start: int, end: int) -> Iterator[Iterable[bytes]]:
        with _translated(), self._asked(path, {"Range": f"bytes={start}-{end - 1}"}) as response:
            _check(response.status_code)
            pieces = _pieces(response)
            yield pieces if response.status_code == 206 else cut(pieces, start, end)

    def _asked(self, path: str, headers: dict[str, str]) -> AbstractContextManager[Any]:
        sent = {**self._headers, "Accept-Encoding": "identity", **headers}
        return get_session().stream("GET", self._url(path), headers=sent, timeout=READ_SECONDS)

    def write(self, path: str, source: Path) -> None:
        self._upload(path, source)

    def write_bytes(self, path: str, data: bytes) -> None:
        self._upload(path, io.BytesIO(data))

    def _upload(self, path: str, content: Path | io.BytesIO) -> None:
        """Asks first whether the hub answers: its own client would go on trying for half a minute."""
        self.read(path)
        with _translated():
            HfApi(endpoint=self._endpoint, library_name="stoker", library_version=__version__).upload_file(
                path_or_fileobj=content if isinstance(content, io.BytesIO) else str(content),
                path_in_repo=self._folder + path,
                repo_id=self._repository,
                revision=self._revision,
            )

    def _url(self, path: str) -> str:
        name = self._folder + path
        return hf_hub_url(self._repository, name, revision=self._revision, endpoint=self._endpoint)


def _pieces(response: Any) -> Iterator[bytes]:
    """As they come: not unpacked, since a few kilobytes can unpack to gigabytes."""
    if response.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise RemoteError("it compresses what it sends")
    yield from response.iter_raw()


def _check(status: int) -> None:
    if status >= 500 or status == 429:
        raise TransientError(f"it answered with status {status}")
    if status >= 400:
        raise RemoteError(f"it answered with status {status}")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        raise TransientError(redacted(f"{type(error).__name__}: {error}")) from error
