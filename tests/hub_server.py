"""A small Hugging Face Hub in this process: truthful enough for huggingface_hub, with faults on demand.

What it imitates: https://huggingface.co/docs/hub/api and the headers that huggingface_hub's file_download reads. Large
files (safetensors) are redirected to another origin, as the hub's CDN is.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 1 << 14


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Repository:
    """`commits` maps a commit to its files, `revisions` a branch or tag to its commit."""

    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)


class Failure(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message


class HubServer:
    """Use as a context manager; `url` is what HF_ENDPOINT should be."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.content_bytes = 0
        self.tokens: set[str] = set()
        self.status: int | None = None
        self.ignore_ranges = False
        self.names_only = False
        self.pause = 0.0  # seconds after each chunk
        self._allowance: int | None = None
        self._corrupt: set[str] = set()
        self.met = False
        self._meeting = ("nowhere", threading.Barrier(1))
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_repository(
        self, name: str, files: Mapping[str, bytes], *, gated: bool = False, revision: str = "main"
    ) -> str:
        """Adds a commit with these files, lets `revision` point to it, and returns it."""
        repository = self.repositories.setdefault(name, Repository(gated))
        listing = json.dumps({path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())})
        commit = hashlib.sha1(listing.encode()).hexdigest()
        repository.commits[commit] = dict(files)
        repository.revisions[revision] = commit
        return commit

    def size(self, name: str) -> int:
        """Bytes of all files of the repository's newest commit."""
        repository = self.repositories[name]
        return sum(len(data) for data in repository.commits[repository.revisions["main"]].values())

    def fail_after(self, content_bytes: int) -> None:
        """Cuts every connection once so many more bytes of files were served; `recover` ends it."""
        self._allowance = content_bytes

    def recover(self) -> None:
        self._allowance = None

    def corrupt(self, file: str) -> None:
        """Serves this file with its last byte changed from now on."""
        self._corrupt.add(file)

    def count(self, method: str, part: str = "") -> int:
        return sum(request.method == method and part in request.path for request in self.requests)

    def heal(self) -> None:
        self._corrupt.clear()

    def meet(self, part: str, count: int) -> None:
        """Holds answers under paths with `part` until so many are asked for at once; `met` says whether they were."""
        self._meeting = (part, threading.Barrier(count))

    def wait_for_others(self, path: str) -> None:
        part, barrier = self._meeting
        if part in path:
            try:
                barrier.wait(timeout=5)
                self.met = True
            except threading.BrokenBarrierError:
                self.met = False

    def contents(self, commit: str, file: str) -> bytes:
        data = next(files for r in self.repositories.values() for c, files in r.commits.items() if c == commit)[file]
        return data[:-1] + bytes([data[-1] ^ 1]) if file in self._corrupt else data

    def take(self, wanted: int) -> int:
        """How many of the wanted bytes may still be served."""
        with self._lock:
            granted = wanted if self._allowance is None else min(wanted, self._allowance)
            if self._allowance is not None:
                self._allowance -= granted
            self.content_bytes += granted
            return granted

    def find(self, name: str, revision: str, token: str | None) -> tuple[str, dict[str, bytes]]:
        repository = self.repositories.get(name)
        if repository is None:
            raise Failure(404 if token else 401, "RepoNotFound", "Repository not found")
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            raise Failure(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit, repository.commits[commit]

    def check_access(self, name: str, token: str | None) -> None:
        if self.repositories[name].gated and token not in self.tokens:
            raise Failure(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")


def is_large(file: str) -> bool:
    return file.endswith((".safetensors", ".bin"))


def git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag(file: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if is_large(file) else git_blob_id(data)


def _entry(file: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"size": len(data), "blobId": git_blob_id(data), "oid": git_blob_id(data)}
    if is_large(file):
        digest = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": digest, "oid": digest, "size": len(data), "pointerSize": 134}
    return entry


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: HubServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 5.0

    def log_message(self, *arguments: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        authorization = self.headers.get("Authorization")
        self.server.hub.requests.append(Request(self.command, self.path, self.headers.get("Range"), authorization))
        try:
            if self.server.hub.status is not None:
                raise Failure(self.server.hub.status, "", "out of order")
            self._route((authorization or "").removeprefix("Bearer ") or None)
        except Failure as failure:
            body = json.dumps({"error": failure.message}).encode()
            headers = {"X-Error-Code": failure.code, "X-Error-Message": failure.message}
            self._send(failure.status, {k: v for k, v in headers.items() if v}, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, token: str | None) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            kind = parts[4] if len(parts) > 4 else "revision"
            revision = "/".join(parts[5:]) or "main"
            self._api("/".join(parts[2:4]), kind, revision, token)
        elif parts[0] == "cdn":
            self.server.hub.wait_for_others(self.path)
            self._contents(parts[1], "/".join(parts[2:]))
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token)
        else:
            raise Failure(404, "", "no such page")

    def _api(self, name: str, kind: str, revision: str, token: str | None) -> None:
        commit, files = self.server.hub.find(name, revision, token)
        entries = {file: {} if self.server.hub.names_only else _entry(file, data) for file, data in files.items()}
        if kind == "tree":
            answer: Any = [{"type": "file", "path": file, **entry} for file, entry in entries.items()]
        else:
            siblings = [{"rfilename": file, **entry} for file, entry in entries.items()]
            answer = {"id": name, "modelId": name, "sha": commit, "private": False, "siblings": siblings}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _resolve(self, name: str, revision: str, file: str, token: str | None) -> None:
        commit, files = self.server.hub.find(name, revision, token)
        self.server.hub.check_access(name, token)
        if file not in files:
            raise Failure(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit}
        if not is_large(file):
            return self._contents(commit, file, headers)
        tag = etag(file, files[file])
        headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(files[file]))}
        location = f"http://localhost:{self.server.hub.port}/cdn/{commit}/{file}"
        return self._send(302, {**headers, "Location": location}, b"")

    def _contents(self, commit: str, file: str, headers: Mapping[str, str] | None = None) -> None:
        data = self.server.hub.contents(commit, file)
        head = {**(headers or {}), "ETag": f'"{etag(file, data)}"', "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted is None or self.server.hub.ignore_ranges:
            return self._send(200, head, data, counted=True)
        first, last = wanted.removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
        if start >= len(data):
            return self._send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        head["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        return self._send(206, head, data[start:end], counted=True)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, counted: bool = False) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if not counted:
            self.wfile.write(body)
            return
        for offset in range(0, len(body), CHUNK_BYTES):
            chunk = body[offset : offset + CHUNK_BYTES]
            granted = self.server.hub.take(len(chunk))
            self.wfile.write(chunk[:granted])
            time.sleep(self.server.hub.pause)
            if granted < len(chunk):
                self.close_connection = True
                return
