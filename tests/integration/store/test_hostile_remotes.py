"""Remotes that are malformed, slow or without end: a warning, and the engine is built."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load

from stoker.deadline import within
from stoker.progress import Silent
from stoker.store.engine import Engine, EngineFile, Manifest
from stoker.store.manifest import UnusableEngineError, parse_manifest
from stoker.store.policy import StorePolicy
from stoker.store.remotes.fetch import fetch_from_remotes, push
from stoker.store.remotes.remote import RemoteError
from stoker.store.remotes.transfer import Patience
from stoker.store.store import Store

SERVERS = load("hostile_server", Path(__file__).parent / "hostile_server.py")
QUICK = Patience(seconds=1.0, bytes=1 << 20, pauses=(0.01, 0.01), offer=3.0)
KEY = "demo-openvino-int8-0123456789abcdef"
LONGEST = 120.0  # seconds; a test that takes longer hangs
MOST_MEMORY = 300 << 20
SCHEMES = ("http", "oci", "hf", "s3")


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def hostile(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """The address of a server that is hostile in that way."""
    from huggingface_hub import close_session

    servers: list[Any] = []

    def make(way: Any, scheme: str = "http") -> str:
        servers.append(SERVERS.HostileServer(way))
        url = f"http://127.0.0.1:{servers[-1].port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("HF_ENDPOINT", url)
        rest = {"http": "", "oci": "/team/engines"}.get(scheme)
        return f"{scheme}://org/engines" if rest is None else f"{scheme}://127.0.0.1:{servers[-1].port}{rest}"

    close_session()
    yield make
    close_session()
    for server in servers:
        server.close()


def fetch(cache: Path, key: str, *addresses: str, patience: Patience = QUICK) -> tuple[Engine | None, list[str]]:
    store, notes = Store(cache), Notes()

    def fetched() -> Engine | None:
        with store.lease(key) as lease:
            policy = StorePolicy(addresses)
            return fetch_from_remotes(store, key, lease, policy, notes, threading.Event(), patience)

    engine = within(LONGEST, fetched)
    return engine, [line for line in notes.lines if line.startswith("warning")]


def peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


@pytest.fixture
def memory() -> Iterator[None]:
    """That what a test does takes no more than MOST_MEMORY."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    yield
    assert peak() - before < MOST_MEMORY


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("way", SERVERS.WAYS, ids=lambda way: way.__name__)
def test_whatever_a_remote_answers_is_a_warning(way, scheme, hostile, memory, tmp_path: Path) -> None:
    address = hostile(way, scheme)
    engine, warnings = fetch(tmp_path, KEY, address)
    assert engine is None
    assert len(warnings) == 1, warnings
    assert warnings[0].startswith(f"warning: no engine from {address}: ")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("way", SERVERS.DOCUMENTS, ids=lambda way: way.__name__)
def test_documents_that_are_none_are_warnings(way, scheme, hostile, memory, tmp_path: Path) -> None:
    engine, warnings = fetch(tmp_path, KEY, hostile(way, scheme))
    assert engine is None
    assert len(warnings) == 1, warnings


def offering(manifest: bytes, files: Callable[[bytes], Iterator[bytes]]) -> Any:
    """A web server that offers an engine, and sends its files in a way of its own."""

    def answer(request: bytes) -> Iterator[bytes]:
        path = request.split()[1]
        if path.endswith(b"/engine.json"):
            return iter(SERVERS.document(manifest)(request))
        if path.endswith(b".sig"):
            return iter([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
        return files(request)

    return answer


def too_much(request: bytes) -> Iterator[bytes]:
    """The wanted bytes and then no end."""
    asked = re.search(rb"[Rr]ange: bytes=(\d+)-(\d+)", request)
    assert asked is not None
    first, last = map(int, asked.groups())
    yield b"HTTP/1.1 206 Partial Content\r\n\r\n"
    yield b"w" * (last - first + 1)
    for _ in range(50_000):
        yield SERVERS.BLOCK


@pytest.mark.parametrize("way", SERVERS.WAYS, ids=lambda way: way.__name__)
def test_files_that_do_not_come_as_promised_are_a_warning(way, hostile, publish, memory, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"), size=3 << 20)
    manifest = (engine.directory / "engine.json").read_bytes()
    address = hostile(offering(manifest, way))
    fetched, warnings = fetch(tmp_path / "b", engine.manifest.key, address)
    assert fetched is None
    assert len(warnings) == 1, warnings
    written = sum(path.stat().st_blocks * 512 for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert written < 8 << 20


def test_what_comes_beyond_a_range_is_not_read(hostile, tmp_path: Path) -> None:
    store = Store(tmp_path / "a")
    with store.workspace() as workspace:
        (workspace / "weights.bin").write_bytes(b"w" * (3 << 20))
        from stoker.store.key import digest_of

        inputs = {"name": "x"}
        key = f"x-openvino-int8-{digest_of(inputs)}"
        engine = store.publish(workspace, Manifest(2, key, "openvino", "x", "1", {"precision": "int8"}, inputs, {}))
    address = hostile(offering((engine.directory / "engine.json").read_bytes(), too_much))
    fetched, warnings = fetch(tmp_path / "b", key, address, patience=Patience())
    assert fetched is not None, warnings
    assert (fetched.directory / "weights.bin").stat().st_size == 3 << 20


def signed_by_itself(manifest: Manifest, **changes: Any) -> bytes:
    """An engine.json whose own digest is right, whatever it says."""
    document = {**asdict(manifest), **changes}
    own = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({**document, "sha256": own}).encode()


def file(path: Any = "a", size: Any = 1, sha256: Any = "0" * 64) -> dict[str, Any]:
    return {"path": path, "size": size, "sha256": sha256}


def field(name: str, *values: Any) -> list[dict[str, Any]]:
    """Documents that have each of these in its place."""
    return [{name: value} for value in values]


CHANGES: tuple[dict[str, Any], ...] = (
    *field("files", None, 7, {}, [7], [file(path=7)], [file(sha256=None)], [file(size="1")]),
    *({"files": [file(path)]} for path in ("", ".", "..", "/a", "a/../../b", "./a", "a//b", "a/", "a\0b", "a\nb")),
    *({"files": [file(path)]} for path in ("x" * 256, "engine.json", "engine.json.sig", ".parts", "\ud800")),
    *({"files": [file(size=size)]} for size in (-1, True, 1.5, 10**30, 1 << 60)),
    {"files": [file(), file()]},
    {"files": [file("a"), file("a/b")]},
    {"files": [file("engine.json/a")]},
    {"files": [file(str(number)) for number in range(20_000)]},
    *(
        change
        for name in ("chosen", "inputs", "versions", "build", "model")
        for change in field(name, None, 7, [], "x")
    ),
    *(change for name in ("key", "kind", "served_name", "revision") for change in field(name, None, 7, {})),
    {"schema": 10**9},
    {"unknown": 1},
)


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: str(changes)[:60].encode("ascii", "replace").decode())
def test_an_engine_json_that_makes_no_sense_is_a_warning(changes, publish, tmp_path: Path) -> None:
    manifest = publish(Store(tmp_path / "a"), size=10).manifest
    document = signed_by_itself(manifest, **changes)
    with pytest.raises(UnusableEngineError):
        parse_manifest(document)
    place = tmp_path / "share" / manifest.key
    place.mkdir(parents=True)
    (place / "engine.json").write_bytes(document)
    engine, warnings = fetch(tmp_path / "b", manifest.key, f"file://{tmp_path}/share")
    assert engine is None
    assert len(warnings) == 1, warnings


def test_an_offer_that_does_not_fit_on_the_disk_is_a_warning(publish, tmp_path: Path) -> None:
    manifest = publish(Store(tmp_path / "a"), size=10).manifest
    files = [asdict(EngineFile("weights.bin", 1 << 49, "0" * 64))]
    place = tmp_path / "share" / manifest.key
    place.mkdir(parents=True)
    (place / "engine.json").write_bytes(signed_by_itself(manifest, files=files))
    engine, warnings = fetch(tmp_path / "b", manifest.key, f"file://{tmp_path}/share", patience=Patience())
    assert engine is None
    assert "does not fit on the disk" in warnings[0]
    assert [*(tmp_path / "b").rglob("weights.bin")] == []


@pytest.mark.parametrize("name", ["engine.json", "engine.json.sig"])
def test_endless_documents_in_a_directory_are_a_warning(name, publish, memory, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"), size=10)
    place = tmp_path / "share" / engine.manifest.key
    place.mkdir(parents=True)
    (place / "engine.json").write_bytes((engine.directory / "engine.json").read_bytes())
    (place / name).unlink(missing_ok=True)
    (place / name).symlink_to("/dev/zero")
    fetched, warnings = fetch(tmp_path / "b", engine.manifest.key, f"file://{tmp_path}/share", patience=Patience())
    assert fetched is None
    assert "small document" in warnings[0]


@pytest.mark.parametrize("way", [SERVERS.dripping_header, SERVERS.mute, SERVERS.endless_header, SERVERS.no_http])
def test_pushing_to_a_hostile_registry_ends_too(way, hostile, publish, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stoker.store.remotes.fetch._PUSH_SECONDS", 3.0)
    engine = publish(Store(tmp_path / "a"), size=10)
    with pytest.raises(RemoteError):
        within(LONGEST, lambda: push(engine, hostile(way, "oci"), StorePolicy(), Silent()))
