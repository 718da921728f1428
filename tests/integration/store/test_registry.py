"""Our client of the OCI distribution API: Debian's registry for what is sent, a scripted one for who is let in."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.loading import load

from stoker.store.remotes import registry as client
from stoker.store.remotes.docker_credentials import find_credentials
from stoker.store.remotes.registry import Registry, digest_of
from stoker.store.remotes.remote import RemoteError, TransientError

ROOT = Path(__file__).parents[3]
USER, PASSWORD, IDENTITY, TOKEN = "me", "sesame", "identity-token", "let-me-in"
MANIFEST = b'{"schemaVersion": 2}'


class Scripted:
    """A registry that wants a token of its own token server, and remembers what it was asked."""

    def __init__(self, **script: Any) -> None:
        self.script = script
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.upload = b""
        self.failures = int(script.get("failures", 0))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None: ...

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = outer.respond(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/token"):
            return self.token(method, path, headers, body)
        if headers.get("Authorization") != self.script.get("wants", f"Bearer {TOKEN}"):
            realm = self.script.get("realm", f"http://{self.host}/token")
            challenge = self.script.get(
                "challenge", f'Bearer realm="{realm}",service="reg",scope="repository:a/b:pull"'
            )
            return 401, {"WWW-Authenticate": challenge}, b""
        if "/uploads/" in path:
            return self.uploading(method, headers, body)
        if method == "HEAD":
            return 404, {}, b""
        if "elsewhere" in self.script and "/blobs/" in path:
            return 307, {"Location": self.script["elsewhere"]}, b""
        return 200, {"Docker-Content-Digest": self.script.get("digest", digest_of(MANIFEST))}, MANIFEST

    def token(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if method == "POST":
            given = parse_qs(body.decode()).get("refresh_token") == [IDENTITY]
        else:
            expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            given = headers.get("Authorization") == f"Basic {expected}" or self.script.get("anonymous", False)
        name = "access_token" if method == "POST" else "token"
        return (200, {}, json.dumps({name: TOKEN}).encode()) if given else (401, {}, b"")

    def uploading(self, method: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        place = {"Location": "/v2/a/b/blobs/uploads/1?state=x", "Range": f"0-{max(0, len(self.upload) - 1)}"}
        if method == "PATCH":
            if self.script.get("no_chunks"):
                return 405, {}, b""
            start = int(headers["Content-Range"].partition("-")[0])
            self.upload += body[: len(body) // 2] if self.failures else body
            if self.failures:  # half of it has arrived
                self.failures -= 1
                return 503, {}, b""
            assert start + len(body) == len(self.upload)
            return 202, place, b""
        if method == "PUT":
            self.upload += body
            return 201, {}, b""
        return (204 if method == "GET" else 202), place, b""


@pytest.fixture
def scripted(credentials: Path) -> Iterator[Callable[..., Scripted]]:
    servers: list[Scripted] = []

    def make(**script: Any) -> Scripted:
        servers.append(Scripted(**script))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def logged_in(file: Path, host: str, entry: dict[str, str] | None = None, **more: Any) -> None:
    auth = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    file.write_text(json.dumps({"auths": {host: entry if entry is not None else auth}, **more}))


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    program = folder / "docker-credential-tested"
    program.write_text(f"#!/bin/sh\ncat > {folder}/asked\n{answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("way", ["password", "identity token", "helper", "helper's token", "credsStore", "anonymous"])
def test_a_token_is_fetched(way, scripted, credentials: Path, tmp_path: Path, monkeypatch) -> None:
    server = scripted(anonymous=way == "anonymous")
    both = (
        {"Username": USER, "Secret": PASSWORD}
        if way != "helper's token"
        else {"Username": "<token>", "Secret": IDENTITY}
    )
    helper(tmp_path, monkeypatch, f"echo '{json.dumps(both)}'")
    if way == "password":
        logged_in(credentials, server.host)
    elif way == "identity token":
        logged_in(credentials, server.host, {"identitytoken": IDENTITY})
    elif way in ("helper", "helper's token"):
        credentials.write_text(json.dumps({"credHelpers": {server.host: "tested"}}))
    elif way == "credsStore":
        logged_in(credentials, server.host, {}, credsStore="tested")
    assert Registry(server.host, "a/b").manifest("tag") == MANIFEST
    if "helper" in way:
        assert (tmp_path / "asked").read_text() == server.host


def test_a_token_that_expired_is_fetched_again(scripted, credentials: Path) -> None:
    server = scripted()
    logged_in(credentials, server.host)
    registry = Registry(server.host, "a/b")
    assert registry.manifest("tag") == MANIFEST
    registry._authorization = "Bearer expired"
    assert registry.manifest("tag") == MANIFEST
    assert [path.partition("?")[0] for _, path, _, _ in server.asked].count("/token") == 2


def test_basic_authentication(scripted, credentials: Path) -> None:
    expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    server = scripted(wants=f"Basic {expected}", challenge='Basic realm="engines"')
    with pytest.raises(RemoteError, match=f"docker login {server.host}"):
        Registry(server.host, "a/b").manifest("tag")
    logged_in(credentials, server.host)
    assert Registry(server.host, "a/b").manifest("tag") == MANIFEST


@pytest.mark.parametrize(
    "script",
    [
        {"realm": "http://192.0.2.1/token"},
        {"realm": "ftp://127.0.0.1/token"},
        {"realm": ""},
        {"challenge": ""},
        {"challenge": "Negotiate"},
        {"challenge": 'Bearer realm="'},
        {"wants": "nothing"},
    ],
    ids=str,
)
def test_a_password_is_sent_to_nobody_else(script, scripted, credentials: Path) -> None:
    server = scripted(**script)
    logged_in(credentials, server.host)
    with pytest.raises(RemoteError):
        Registry(server.host, "a/b").manifest("tag")


def test_another_host_gets_no_authorization(scripted, credentials: Path) -> None:
    other = scripted(wants=None)
    server = scripted(elsewhere=f"http://localhost:{other.port}/blob")
    logged_in(credentials, server.host)
    assert Registry(server.host, "a/b").blob(digest_of(MANIFEST)) == MANIFEST
    ((_, _, headers, _),) = other.asked
    assert "Authorization" not in headers


@pytest.mark.parametrize("digest", ["", "md5:x", "sha256:0", "sha256:" + "A" * 64, "../../x", "sha256:" + "0" * 64])
def test_what_does_not_match_its_digest_is_refused(digest, scripted, credentials: Path) -> None:
    server = scripted(wants=None)
    with pytest.raises(RemoteError):
        Registry(server.host, "a/b").blob(digest)


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(scripted, credentials: Path) -> None:
    server = scripted(wants=None, digest="sha256:" + "0" * 64)
    with pytest.raises(RemoteError, match="digest"):
        Registry(server.host, "a/b").manifest("tag")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MONOLITHIC_BYTES", 1000)
    monkeypatch.setattr(client, "CHUNK_BYTES", 300)


@pytest.mark.parametrize("script", [{}, {"failures": 1}, {"failures": 2}, {"no_chunks": True}], ids=str)
@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 5000])
def test_uploads_arrive_whole(size, script, scripted, credentials: Path, small_chunks) -> None:
    server = scripted(wants=None, **script)
    data = os.urandom(size)
    Registry(server.host, "a/b").put_blob(digest_of(data), size, lambda: io.BytesIO(data))
    assert server.upload == data
    method, path, _, _ = server.asked[-1]
    assert method == "PUT"
    assert parse_qs(urlsplit(path).query) == {"state": ["x"], "digest": [digest_of(data)]}


def test_an_upload_that_keeps_failing_is_given_up(scripted, credentials: Path, small_chunks) -> None:
    server = scripted(wants=None, failures=100)
    with pytest.raises(TransientError):
        Registry(server.host, "a/b").put_blob("sha256:" + "0" * 64, 5000, lambda: io.BytesIO(bytes(5000)))


def test_chunks_reach_a_real_registry(registry, log_in, small_chunks, monkeypatch) -> None:
    monkeypatch.setattr(client, "CHUNK_BYTES", 1 << 20)
    log_in(registry.port)
    data = os.urandom((3 << 20) + 17)
    here = Registry(f"127.0.0.1:{registry.port}", "team/chunked")
    here.put_blob(digest_of(data), len(data), lambda: io.BytesIO(data))
    assert here.has_blob(digest_of(data))
    with here.blob_range(digest_of(data), 5, len(data) - 5) as pieces:
        assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(data[5:-5]).digest()


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000),
        b'{"auths": 7, "credHelpers": []}',
        b'{"auths": {"registry": {"auth": "not base64"}}}',
        b'{"auths": {"registry": {"auth": 7}}}',
        b'{"auths": {"registry": {"auth": "bm8gY29sb24="}}}',
    ],
)
def test_docker_files_that_make_no_sense_hold_no_password(
    document: bytes, credentials: Path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    credentials.write_bytes(document)
    assert find_credentials("registry", "a/b") is None


@pytest.mark.parametrize("answer", ["echo no json", "exit 1", "echo '{}'", "echo '[]'"])
def test_helpers_that_know_nothing(answer: str, credentials: Path, tmp_path: Path, monkeypatch) -> None:
    helper(tmp_path, monkeypatch, answer)
    credentials.write_text(json.dumps({"credHelpers": {"registry": "tested"}}))
    assert find_credentials("registry", "a/b") is None


@pytest.mark.parametrize("name", ["absent", "../../bin/sh", "a b", ""])
def test_helpers_that_are_none_say_so(name: str, credentials: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    credentials.write_text(json.dumps({"credHelpers": {"registry": name}}))
    if name:
        with pytest.raises(RemoteError, match="credential"):
            find_credentials("registry", "a/b")
    else:
        assert find_credentials("registry", "a/b") is None


def test_podman_keeps_passwords_for_a_repository(credentials: Path, tmp_path, monkeypatch) -> None:
    file = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
    known = {name: {"auth": base64.b64encode(f"{name}:x".encode()).decode()} for name in ("registry", "registry/team")}
    file.write_text(json.dumps({"auths": known}))
    found = [find_credentials("registry", name) for name in ("team/engines", "other")]
    assert [each and each.user for each in found] == ["registry/team", "registry"]


def test_the_images_bases_are_pinned_by_digest(registry, log_in, tmp_path: Path) -> None:
    """tools/pin_bases.py, with an index as multi-platform images have it."""
    log_in(registry.port)
    host, pin = f"127.0.0.1:{registry.port}", load("pin_bases", ROOT / "tools" / "pin_bases.py")
    here = Registry(host, "team/base")
    config, layer = b"{}", b"layer"
    parts = [
        {"mediaType": f"application/vnd.oci.image.{kind}", "digest": here.put_bytes(data), "size": len(data)}
        for kind, data in (("config.v1+json", config), ("layer.v1.tar", layer))
    ]
    manifest = {"schemaVersion": 2, "mediaType": client.MANIFEST, "config": parts[0], "layers": parts[1:]}
    here.put_manifest("slim", json.dumps(manifest).encode())
    dockerfile, lock = tmp_path / "Dockerfile", tmp_path / "bases.lock"
    dockerfile.write_text(f"ARG BASE={host}/team/base:slim\nFROM ${{BASE}}\n")
    assert pin.main([dockerfile], lock) == 0
    assert pin.read(lock) == {f"{host}/team/base:slim": digest_of(json.dumps(manifest).encode())}
    dockerfile.write_text(f"ARG BASE={host}/team/base:gone\n")
    assert pin.main([dockerfile], lock) == 1


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("debian:bookworm-slim", ("docker.io", "debian", "bookworm-slim")),
        ("nvidia/cuda:12", ("docker.io", "nvidia/cuda", "12")),
        ("nvcr.io/nvidia/tritonserver:26.07-py3", ("nvcr.io", "nvidia/tritonserver", "26.07-py3")),
        ("localhost:5000/a/b", ("localhost:5000", "a/b", "latest")),
    ],
)
def test_names_of_images(name: str, parts: tuple[str, str, str]) -> None:
    assert load("pin_bases", ROOT / "tools" / "pin_bases.py").parsed(name) == parts
