"""Engines to remotes and back, through real servers and bad networks."""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stoker.progress import Silent
from stoker.store.engine import Engine
from stoker.store.integrity import fault_of
from stoker.store.manifest import write_manifest
from stoker.store.obtain import Wanted, obtain
from stoker.store.policy import StorePolicy
from stoker.store.remotes import transfer
from stoker.store.remotes.fetch import feed_remotes, fetch_from_remotes, push
from stoker.store.remotes.transfer import Patience
from stoker.store.store import Store

WRITABLE = ("registry", "s3", "directory")
NETWORKED = ("registry", "s3")
LONG = Patience(pauses=(0.01, 0.01))  # a busy machine is no slow remote
SHORT = replace(LONG, seconds=1.0, bytes=1 << 20)


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    @property
    def warning(self) -> str:
        (line,) = [line for line in self.lines if line.startswith("warning")]
        return line


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def fetch(cache: Path, key: str, notes: Notes, *addresses: str, patience: Patience = LONG) -> Engine | None:
    store = Store(cache)
    with store.lease(key) as lease:
        return fetch_from_remotes(store, key, lease, StorePolicy(addresses), notes, threading.Event(), patience)


def damage(place, engine: Engine) -> None:
    """Flips a byte of weights.bin where the server keeps it."""
    if place.root == Path():
        import boto3

        name = {"Bucket": place.address().split("/")[2], "Key": f"prefix/{engine.manifest.key}/weights.bin"}
        data = boto3.client("s3").get_object(**name)["Body"].read()
        boto3.client("s3").put_object(Body=bytes([data[0] ^ 1]) + data[1:], **name)
        return
    digest = next(file.sha256 for file in engine.manifest.files if file.path == "weights.bin")
    root: Path = place.root
    (file,) = [*root.rglob(f"{digest}/data"), *root.rglob("weights.bin")]
    with file.open("r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))


@pytest.mark.parametrize("place", WRITABLE, indirect=True)
def test_what_is_pushed_is_pulled_byte_for_byte(place, publish, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    push(engine, place.address(), StorePolicy(), Silent())
    notes = Notes()
    pulled = fetch(tmp_path / "b", engine.manifest.key, notes, place.address())
    assert pulled is not None
    assert contents(pulled.directory) == contents(engine.directory)
    assert notes.lines == [f"fetched the engine {engine.manifest.key} from {place.address()}"]
    assert not (tmp_path / "b" / "partial").exists()


@pytest.mark.parametrize("place", [*WRITABLE, "web"], indirect=True)
def test_what_a_remote_does_not_have_is_no_warning(place, tmp_path: Path) -> None:
    notes = Notes()
    assert fetch(tmp_path, "demo-openvino-int8-0123456789abcdef", notes, place.address()) is None
    assert notes.lines == []


def test_a_web_server_is_read_from_and_not_written_to(web, publish, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"), size=40 << 20)
    push(engine, f"file://{web.root}", StorePolicy(), Silent())
    pulled = fetch(tmp_path / "b", engine.manifest.key, Notes(), web.address())
    assert pulled is not None
    assert contents(pulled.directory) == contents(engine.directory)
    notes = Notes()
    assert feed_remotes(engine, StorePolicy((web.address(),)), notes) == 0
    assert "only read from" in notes.warning


@pytest.mark.parametrize("place", WRITABLE, indirect=True)
def test_a_damaged_object_is_named_and_the_next_remote_is_asked(place, publish, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    key, good = engine.manifest.key, f"file://{tmp_path}/good"
    (tmp_path / "good").mkdir()
    push(engine, place.address(), StorePolicy(), Silent())
    push(engine, good, StorePolicy(), Silent())
    damage(place, engine)
    notes = Notes()
    pulled = fetch(tmp_path / "b", key, notes, place.address(), good)
    assert pulled is not None
    assert contents(pulled.directory) == contents(engine.directory)
    assert "weights.bin is damaged" in notes.warning


@pytest.mark.parametrize("place", NETWORKED, indirect=True)
def test_a_cut_transfer_goes_on_where_it_was(place, publish, proxy, log_in, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(transfer, "_PART_BYTES", 1 << 20)
    monkeypatch.setattr(transfer, "_WORKERS", 2)
    size = 16 << 20
    engine = publish(Store(tmp_path / "a"), size=size)
    push(engine, place.address(), StorePolicy(), Silent())
    network = proxy(place.port)
    log_in(network.port)
    network.cut_after = size // 2
    notes = Notes()
    assert fetch(tmp_path / "b", engine.manifest.key, notes, place.address(network.port)) is None
    assert notes.warning
    assert network.sent < 0.75 * size
    network.cut_after, network.sent = None, 0
    pulled = fetch(tmp_path / "b", engine.manifest.key, Notes(), place.address(network.port))
    assert pulled is not None
    assert contents(pulled.directory) == contents(engine.directory)
    assert network.sent < 0.75 * size


@pytest.mark.parametrize("place", NETWORKED, indirect=True)
def test_a_slow_remote_is_given_up(place, publish, proxy, log_in, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"), size=8 << 20)
    push(engine, place.address(), StorePolicy(), Silent())
    network = proxy(place.port)
    log_in(network.port)
    network.bytes_per_second = 200_000.0
    notes = Notes()
    assert fetch(tmp_path / "b", engine.manifest.key, notes, place.address(network.port), patience=SHORT) is None
    assert "too slow" in notes.warning


@pytest.mark.parametrize("scheme", ["oci", "s3", "http", "hf", "file"])
def test_a_remote_that_is_down_is_a_warning_and_a_build(scheme, publish, credentials, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    rest = {"oci": "127.0.0.1:9/engines", "http": "127.0.0.1:9", "file": "/nowhere/at/all"}.get(scheme, "org/engines")
    address, notes, store = f"{scheme}://{rest}", Notes(), Store(tmp_path / "b")
    made = publish(Store(tmp_path / "a"))

    def make(workspace: Path, progress: object):
        (workspace / "weights.bin").write_bytes(b"made here")
        return made.manifest

    policy = StorePolicy((address,), push=True)
    engine = obtain(store, Wanted(made.manifest.key, 1), policy, notes, make)
    assert (engine.directory / "weights.bin").read_bytes() == b"made here"
    warnings = [line for line in notes.lines if line.startswith(f"warning: no engine from {address}")]
    assert len(warnings) == 1
    store.release(made.manifest.key)


def test_an_engine_is_read_from_a_repository_of_the_hub(hub, publish, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    key = engine.manifest.key
    hub.add_repository("org/engines", {f"v1/{key}/{name}": data for name, data in contents(engine.directory).items()})
    pulled = fetch(tmp_path / "b", key, Notes(), "hf://org/engines/v1")
    assert pulled is not None
    assert contents(pulled.directory) == contents(engine.directory)


def test_what_is_built_feeds_the_remotes_and_the_next_cache_builds_nothing(directory, publish, tmp_path: Path) -> None:
    made = publish(Store(tmp_path / "a"))
    policy = StorePolicy((directory.address(),), push=True)
    calls = []

    def make(workspace: Path, progress: object):
        calls.append(workspace)
        (workspace / "weights.bin").write_bytes(os.urandom(1000))
        return made.manifest

    wanted = Wanted(made.manifest.key, 1)
    first = obtain(Store(tmp_path / "b"), wanted, policy, Notes(), make)
    second = obtain(Store(tmp_path / "c"), wanted, policy, Notes(), make)
    assert len(calls) == 1
    assert contents(first.directory) == contents(second.directory)


def test_files_that_engines_share_are_in_a_registry_once(registry, publish, log_in, tmp_path: Path) -> None:
    log_in(registry.port)
    shared = os.urandom(1 << 20)
    for name in ("one", "two"):
        engine = publish(Store(tmp_path / name), name, size=1000, shared=shared)
        push(engine, registry.address(), StorePolicy(), Silent())
    stored = [path for path in registry.root.rglob("data") if path.is_file() and path.read_bytes() == shared]
    assert len(stored) == 1


def test_a_registry_that_wants_a_password_says_what_to_do(registry, credentials, tmp_path: Path) -> None:
    notes = Notes()
    assert fetch(tmp_path, "demo-openvino-int8-0123456789abcdef", notes, registry.address()) is None
    assert f"docker login 127.0.0.1:{registry.port}" in notes.warning


@pytest.mark.parametrize("lie", ["another engine", "a path outside", "no json"])
def test_a_remote_that_lies_about_what_it_has_is_not_believed(lie, directory, publish, tmp_path: Path) -> None:
    store = Store(tmp_path / "a")
    engine, other = publish(store), publish(store, "other")
    push(engine, directory.address(), StorePolicy(), Silent())
    manifest = directory.root / engine.manifest.key / "engine.json"
    if lie == "a path outside":
        files = (replace(engine.manifest.files[0], path="../../../weights.bin"),)
        write_manifest(manifest.parent, replace(engine.manifest, files=files))
    else:
        manifest.write_text((other.directory / "engine.json").read_text() if lie == "another engine" else "{")
    notes = Notes()
    assert fetch(tmp_path / "b", engine.manifest.key, notes, directory.address()) is None
    assert "engine.json" in notes.warning
    assert list((tmp_path / "b" / "engines").iterdir()) == []
    assert fault_of(store, engine.manifest.key, StorePolicy()) == ""


PASSWORDS = (
    "http://me:sesame@127.0.0.1:{port}",
    "http://me:sesame@127.0.0.1:{port}/?sig=sesame",
    "http://me:sesame@127.0.0.1:9",
    "oci://me:sesame@127.0.0.1:{port}/a",
    "http://me:sesame@127.0.0.1:port",
    "ftp://me:sesame@host/x",
)


@pytest.mark.parametrize("address", PASSWORDS)
@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_command_shows_the_password_of_a_remote(address, level, web, cli, tmp_path: Path) -> None:
    remote = address.format(port=web.port)
    key = "demo-openvino-int8-0123456789abcdef"
    build = ("build", "demo", "--log-level", level)
    for command in ((*build, "--push"), (*build, "--log-format", "json"), ("engines", "pull", key), ("plan", "demo")):
        ran = cli.run(*command, prefix=("env", f"STOKER_REMOTES={remote}"))
        assert "sesame" not in ran.stdout + ran.stderr
    manifest = cli.run("manifest", "kubernetes", "demo", "--remotes", remote)
    assert manifest.returncode == 64
    assert "sesame" not in manifest.stdout + manifest.stderr


def test_a_password_in_the_address_of_a_web_server_is_used(publish, proxy, credentials, tmp_path: Path) -> None:
    from stoker.store.remotes.web import WebTree

    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert WebTree(f"http://me:sesame@127.0.0.1:{server.server_port}/x").read("engine.json") is None
    server.server_close()
    assert seen == [f"Basic {base64.b64encode(b'me:sesame').decode()}"]
