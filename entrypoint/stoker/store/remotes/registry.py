"""A client of the OCI distribution API, as much of it as engines need.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. What comes from a registry is checked against its
digest, so that a registry need not be trusted; passwords go to the registry, and to the token server that it names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests

from stoker.json_text import parse_json
from stoker.store.remotes.docker_credentials import DOCKER_HUB, Credentials, find_credentials
from stoker.store.remotes.remote import RemoteError, TransientError
from stoker.store.remotes.web import check_status, document, new_session, ranged_body, translated, tried_again

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    MANIFEST,
    "application/vnd.docker.distribution.manifest.v2+json",
)
_BYTES = "application/octet-stream"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DOCKER_HUB_API = "registry-1.docker.io"
_CHALLENGE = re.compile(r"\s*(?P<scheme>Basic|Bearer)\b(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r'(\w+)\s*=\s*"([^"]*)"')
_SMALL_BYTES = 64 << 10
# A larger blob is sent in chunks, so that a cut connection costs one of them.
MONOLITHIC_BYTES = 64 << 20
CHUNK_BYTES = 16 << 20
_ATTEMPTS = 3
_NO_CHUNKS = (400, 404, 405, 411, 413, 415, 416, 501)

Body = Callable[[], IO[bytes] | bytes]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """One repository of one registry. Methods raise RemoteError only. Plain http is spoken to loopback only, as docker
    does."""

    def __init__(self, host: str, repository: str) -> None:
        self.host = host
        self.repository = f"library/{repository}" if host == DOCKER_HUB and "/" not in repository else repository
        api = _DOCKER_HUB_API if host == DOCKER_HUB else host
        self._plain = urlsplit(f"//{host}").hostname in _LOOPBACK
        self._origin = f"{'http' if self._plain else 'https'}://{api}"
        self._base = f"{self._origin}/v2/{self.repository}/"
        self._session = new_session()
        self._authorization = ""

    def manifest(self, reference: str) -> bytes | None:
        """The manifest of a tag or digest; None where there is none."""
        return tried_again(lambda: self._manifest(reference))

    def _manifest(self, reference: str) -> bytes | None:
        with self._asked("GET", f"manifests/{reference}", {"Accept": MANIFEST}) as response:
            if response.status_code == 404:
                return None
            self._check(response)
            body = document(response)
        said = response.headers.get("Docker-Content-Digest", "")
        if _DIGEST.fullmatch(said) and said != digest_of(body):
            raise TransientError(f"its manifest {reference} is not what its digest says")
        return body

    def index_digest(self, tag: str) -> str | None:
        """The digest of a tag as it is, an index of several platforms or a manifest; None where there is none."""
        with self._asked("GET", f"manifests/{tag}", {"Accept": ", ".join(_MANIFESTS)}) as response:
            if response.status_code == 404:
                return None
            self._check(response)
            return digest_of(document(response))

    def blob(self, digest: str) -> bytes:
        """A small blob, whole and checked."""
        _check_digest(digest)
        return tried_again(lambda: self._blob(digest))

    def _blob(self, digest: str) -> bytes:
        with self._asked("GET", f"blobs/{digest}") as response:
            self._check(response)
            body = document(response)
        if digest_of(body) != digest:
            raise RemoteError(f"its blob {digest[:19]} is not what its name says")
        return body

    @contextmanager
    def blob_range(self, digest: str, start: int, end: int) -> Iterator[Iterable[bytes]]:
        """Bytes of a blob, for the caller to check."""
        with self._asked("GET", f"blobs/{digest}", {"Range": f"bytes={start}-{end - 1}"}) as response:
            self._check(response)
            yield ranged_body(response, start, end)

    def has_blob(self, digest: str) -> bool:
        with self._asked("HEAD", f"blobs/{digest}") as response:
            if response.status_code != 404:
                self._check(response)
            return bool(response.status_code == 200)

    def put_manifest(self, reference: str, data: bytes) -> None:
        with self._asked("PUT", f"manifests/{reference}", {"Content-Type": MANIFEST}, lambda: data) as response:
            self._check(response)

    def put_bytes(self, data: bytes) -> str:
        """The digest of what is there now."""
        digest = digest_of(data)
        self.put_blob(digest, len(data), lambda: data)
        return digest

    def put_blob(self, digest: str, size: int, opened: Body) -> None:
        """Unless it is there. `opened` gives the contents from their beginning, each time."""
        if self.has_blob(digest):
            return
        if size <= MONOLITHIC_BYTES or not (location := self._in_chunks(self._begin(), size, opened)):
            self._finish(self._begin(), digest, opened)
        else:
            self._finish(location, digest, lambda: b"")

    def _begin(self) -> str:
        with self._asked("POST", "blobs/uploads/") as response:
            self._check(response)
            return self._location(response)

    def _finish(self, location: str, digest: str, opened: Body) -> None:
        headers = {"Content-Type": _BYTES}
        with self._send("PUT", location, headers, opened, {"digest": digest}) as response:
            self._check(response)

    def _in_chunks(self, location: str, size: int, opened: Body) -> str:
        """Where to finish the upload; empty for a registry that takes no chunks."""
        content = opened()
        assert not isinstance(content, bytes), "a large blob is a file"
        with content:
            start, failures = 0, 0
            while start < size:
                content.seek(start)
                data = content.read(CHUNK_BYTES)
                try:
                    with self._patch(location, start, data) as response:
                        if start == 0 and response.status_code in _NO_CHUNKS:
                            return ""
                        self._check(response)
                        location, start = self._location(response), start + len(data)
                except TransientError:
                    failures += 1
                    if failures == _ATTEMPTS:
                        raise
                    location, start = self._progress(location)
        return location

    def _patch(self, location: str, start: int, data: bytes) -> Any:
        headers = {"Content-Type": _BYTES, "Content-Range": f"{start}-{start + len(data) - 1}"}
        return self._send("PATCH", location, headers, lambda: data)

    def _progress(self, location: str) -> tuple[str, int]:
        """Where an interrupted upload goes on, and the bytes that have arrived."""
        with self._send("GET", location) as response:
            self._check(response)
            arrived = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", response.headers.get("Range", ""))
            return self._location(response), int(arrived[1]) + 1 if arrived and arrived[1] != "0" else 0

    def _location(self, response: requests.Response) -> str:
        location: str = urljoin(response.url, response.headers.get("Location", ""))
        if urlsplit(location).scheme != "https" and not self._is_here(location):
            raise RemoteError(f"{self.host} wants the upload at an address that is not https")
        return location

    def _is_here(self, url: str) -> bool:
        return url == self._origin or url.startswith(f"{self._origin}/")

    def _asked(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Body | None = None) -> Any:
        return self._send(method, self._base + path, headers, body)

    @contextmanager
    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Iterator[requests.Response]:
        """Once more with a new authorization where the registry wants one, or the token has expired."""
        with translated():
            response = self._sent(method, url, headers, body, parameters)
            if response.status_code == 401 and self._is_here(url):
                with response:
                    self._authorization = self._authorized(response.headers.get("WWW-Authenticate", ""))
                response = self._sent(method, url, headers, body, parameters)
            with response:
                yield response

    def _sent(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Body | None,
        parameters: Mapping[str, str] | None,
    ) -> requests.Response:
        def authorize(request: Any) -> Any:
            """Also keeps `requests` from looking into ~/.netrc."""
            if self._authorization and self._is_here(url):
                request.headers["Authorization"] = self._authorization
            return request

        content = body() if body else None
        try:
            return self._session.request(
                method, url, headers=headers, data=content, params=parameters, auth=authorize, stream=True
            )
        finally:
            if content is not None and not isinstance(content, bytes):
                content.close()

    def _authorized(self, challenge: str) -> str:
        """The Authorization header that satisfies a challenge."""
        match = _CHALLENGE.match(challenge)
        if match is None:
            raise RemoteError(f"{self.host} denies access and does not say how to authenticate")
        credentials = find_credentials(self.host, self.repository)
        if match["scheme"].lower() == "bearer":
            return f"Bearer {self._token(dict(_PARAMETER.findall(match['rest'])), credentials)}"
        if credentials is None or not credentials.user:
            raise self._denied()
        return f"Basic {_basic(credentials)}"

    def _token(self, challenge: Mapping[str, str], credentials: Credentials | None) -> str:
        """https://distribution.github.io/distribution/spec/auth/token/ and oauth/"""
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme != "https" and not (self._plain and urlsplit(realm).hostname in _LOOPBACK):
            raise RemoteError(f"{self.host} names a token server that is not https")
        wanted = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        with self._token_response(realm, wanted, credentials) as response:
            if response.status_code in (401, 403):
                raise self._denied()
            check_status(response)
            answer = _json(document(response, _SMALL_BYTES))
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str):
            raise RemoteError(f"{self.host}'s token server gives no token")
        return token

    def _token_response(self, realm: str, wanted: Mapping[str, str], credentials: Credentials | None) -> Any:
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token, "client_id": "stoker"}
            return self._session.post(realm, data={**form, **wanted}, auth=_unchanged, stream=True)
        headers = {"Authorization": f"Basic {_basic(credentials)}"} if credentials else {}
        return self._session.get(realm, params=wanted, headers=headers, auth=_unchanged, stream=True)

    def _check(self, response: requests.Response) -> None:
        if response.status_code in (401, 403):
            raise self._denied()
        check_status(response)

    def _denied(self) -> RemoteError:
        return RemoteError(
            f"{self.host} denies access to {self.repository}, or wants a password: `docker login {self.host}`"
        )


def _unchanged(request: Any) -> Any:
    return request


def _basic(credentials: Credentials) -> str:
    return base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()


def _json(data: bytes) -> dict[str, object]:
    try:
        found = parse_json(data)
    except ValueError as error:
        raise RemoteError("its answer is not JSON") from error
    return found if isinstance(found, dict) else {}


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise RemoteError(f"it names something by {digest[:80]!r}, which is not a SHA-256 digest")
