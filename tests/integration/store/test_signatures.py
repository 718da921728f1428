"""Signatures over real remotes, with keys as cosign and openssl make them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import DamagedEngineError, ModelError, UsageError
from stoker.progress import Silent
from stoker.store.eviction import clear_remains
from stoker.store.exported import finished_engine
from stoker.store.integrity import fault_of
from stoker.store.manifest import UnusableEngineError
from stoker.store.obtain import Wanted, obtain, pull
from stoker.store.policy import StorePolicy
from stoker.store.remotes.fetch import fetch_from_remotes, push
from stoker.store.remotes.remote import Signed
from stoker.store.signature import is_signed, sign
from stoker.store.store import Store
from stoker.store.transport import export_engine, import_engine

PLACES = ("registry", "s3", "directory")


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """As docs/store.md says to make one without cosign."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private))
    openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    return private, public


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path, "theirs")


def fetched(cache: Path, key: str, address: str, signatures: str, public: Path | None) -> tuple[bool, str]:
    notes, store = Notes(), Store(cache)
    with store.lease(key) as lease:
        policy = StorePolicy((address,), signatures=signatures, public_key=public)
        engine = fetch_from_remotes(store, key, lease, policy, notes, threading.Event())
    return engine is not None, "\n".join(notes.lines)


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_signatures_are_taken_warned_about_or_refused(place, publish, ours, theirs, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    key = engine.manifest.key
    push(engine, place.address(), StorePolicy(private_key=ours[0]), Silent())
    right = fetched(tmp_path / "right", key, place.address(), "enforce", ours[1])
    assert right[0]
    assert "warning" not in right[1]
    wrong = fetched(tmp_path / "wrong", key, place.address(), "enforce", theirs[1])
    assert not wrong[0]
    assert "not by the expected key" in wrong[1]
    warned = fetched(tmp_path / "warned", key, place.address(), "warn", theirs[1])
    assert warned[0]
    assert "not by the expected key" in warned[1]


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_an_unsigned_engine_is_refused_where_signatures_are_enforced(place, publish, ours, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    push(engine, place.address(), StorePolicy(), Silent())
    taken, said = fetched(tmp_path / "b", engine.manifest.key, place.address(), "enforce", ours[1])
    assert not taken
    assert "it is not signed" in said


def test_a_signed_engine_that_was_changed_is_refused(directory, publish, ours, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    push(engine, directory.address(), StorePolicy(private_key=ours[0]), Silent())
    manifest = directory.root / engine.manifest.key / "engine.json"
    manifest.write_text(manifest.read_text().replace('"openvino"', '"openvino" '))
    taken, said = fetched(tmp_path / "b", engine.manifest.key, directory.address(), "enforce", ours[1])
    assert not taken
    assert "not by the expected key" in said


def test_the_blob_signature_is_what_openssl_verifies(directory, publish, ours, tmp_path: Path) -> None:
    """`cosign verify-blob --key` checks the same: ECDSA over SHA-256, in base64."""
    engine = publish(Store(tmp_path / "a"))
    push(engine, directory.address(), StorePolicy(private_key=ours[0]), Silent())
    folder = directory.root / engine.manifest.key
    (tmp_path / "sig").write_bytes(base64.b64decode((folder / "engine.json.sig").read_bytes()))
    names = ("-verify", str(ours[1]), "-signature", str(tmp_path / "sig"), str(folder / "engine.json"))
    assert b"Verified OK" in openssl("dgst", "-sha256", *names)


def test_the_registrys_signature_is_in_cosigns_form(registry, publish, ours, log_in, tmp_path: Path) -> None:
    """https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md, read back without our own code."""
    import requests

    log_in(registry.port)
    engine = publish(Store(tmp_path / "a"))
    push(engine, registry.address(), StorePolicy(private_key=ours[0]), Silent())
    base = f"http://127.0.0.1:{registry.port}/v2/team/engines"
    options: dict[str, Any] = {
        "auth": ("stoker", "sesame"),
        "headers": {"Accept": "application/vnd.oci.image.manifest.v1+json"},
    }
    manifest = requests.get(f"{base}/manifests/{engine.manifest.key}", **options)
    digest = manifest.headers["Docker-Content-Digest"]
    assert manifest.json()["artifactType"] == "application/vnd.stoker.engine.v1"
    signature = requests.get(f"{base}/manifests/{digest.replace(':', '-')}.sig", **options).json()
    (layer,) = signature["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = requests.get(f"{base}/blobs/{layer['digest']}", **options).content
    assert json.loads(payload)["critical"]["image"]["docker-manifest-digest"] == digest
    made = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    assert is_signed(ours[1], [Signed(payload, made)])


def cosign_encrypted(private: Path, password: str) -> bytes:
    """What `cosign generate-key-pair` and `cosign import-key-pair` write."""
    from nacl.secret import SecretBox

    der = openssl("pkcs8", "-topk8", "-nocrypt", "-in", str(private), "-outform", "DER")
    salt, nonce = os.urandom(32), os.urandom(24)
    cost = {"N": 1024, "r": 8, "p": 1}
    key = hashlib.scrypt(password.encode(), salt=salt, n=cost["N"], r=8, p=1, dklen=32)
    box = {
        "kdf": {"name": "scrypt", "params": cost, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(SecretBox(key).encrypt(der, nonce).ciphertext).decode(),
    }
    label = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(json.dumps(box).encode()), label)


def test_cosigns_encrypted_keys_sign(ours, tmp_path: Path, monkeypatch) -> None:
    encrypted = tmp_path / "cosign.key"
    encrypted.write_bytes(cosign_encrypted(ours[0], "open"))
    monkeypatch.setenv("COSIGN_PASSWORD", "open")
    assert is_signed(ours[1], [Signed(b"payload", sign(encrypted, b"payload"))])
    monkeypatch.setenv("COSIGN_PASSWORD", "shut")
    with pytest.raises(UsageError, match="COSIGN_PASSWORD does not open it"):
        sign(encrypted, b"payload")


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(UsageError, match="cannot be used"):
        is_signed(tmp_path / "k", [])
    with pytest.raises(UsageError, match="cannot be used"):
        sign(tmp_path / "k", b"")


def test_exports_carry_a_signature_that_imports_can_demand(publish, ours, theirs, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    exported = export_engine(engine, tmp_path / "exported", StorePolicy(private_key=ours[0]))
    store = Store(tmp_path / "b")
    with pytest.raises(DamagedEngineError, match="not by the expected key"):
        import_engine(store, exported, StorePolicy(signatures="enforce", public_key=theirs[1]), Silent())
    assert store.list() == ()
    taken = import_engine(store, exported, StorePolicy(signatures="enforce", public_key=ours[1]), Silent())
    assert taken.manifest == engine.manifest
    assert list(store.tmp.iterdir()) == []


def obtained(store: Store, key: str, made, policy: StorePolicy) -> tuple[bool, str]:
    """As a start does it; whether the engine was built anew, and what was said."""
    notes, builds = Notes(), []

    def make(workspace: Path, progress: object):
        builds.append(workspace)
        (workspace / "weights.bin").write_bytes(b"made here")
        return made.manifest

    obtain(store, Wanted(key, 1), policy, notes, make)
    store.release(key)
    return bool(builds), "\n".join(notes.lines)


@pytest.mark.parametrize("way", ["fetched", "pulled", "imported"])
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_an_engine_that_came_unsigned_is_judged_by_the_policy_that_uses_it(way, place, publish, ours, tmp_path) -> None:
    """It was taken while signatures were off; verifying it and the next start agree about it."""
    engine = publish(Store(tmp_path / "a"))
    key, store, off = engine.manifest.key, Store(tmp_path / "b"), StorePolicy((place.address(),))
    push(engine, place.address(), StorePolicy(), Silent())
    if way == "fetched":
        assert not obtained(store, key, engine, off)[0]
    elif way == "pulled":
        pull(store, key, off, Silent())
    else:
        import_engine(store, export_engine(engine, tmp_path / "exported", off), off, Silent())
    enforced = StorePolicy(signatures="enforce", public_key=ours[1], private_key=ours[0])
    assert fault_of(store, key, StorePolicy()) == ""
    assert "it is not signed" in fault_of(store, key, enforced)
    found = store.find(key)
    assert found is not None
    with pytest.raises(UnusableEngineError):
        push(found, f"file://{tmp_path}", enforced, Silent())
    with pytest.raises(DamagedEngineError):
        export_engine(found, tmp_path / "again", enforced)
    warned = obtained(store, key, engine, StorePolicy(signatures="warn", public_key=ours[1]))
    assert not warned[0]
    assert "warning" in warned[1]
    assert "it is not signed" in warned[1]
    built, said = obtained(store, key, engine, enforced)
    assert built
    assert "is refused (it is not signed, and signatures are enforced)" in said
    assert fault_of(store, key, enforced) == ""
    assert not obtained(store, key, engine, enforced)[0]


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_a_signed_engine_is_judged_again_without_its_remote(place, publish, ours, theirs, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    key, store = engine.manifest.key, Store(tmp_path / "b")
    push(engine, place.address(), StorePolicy(private_key=ours[0]), Silent())
    pull(store, key, StorePolicy((place.address(),)), Silent())
    assert fault_of(store, key, StorePolicy(signatures="enforce", public_key=ours[1])) == ""
    assert "not by the expected key" in fault_of(store, key, StorePolicy(signatures="enforce", public_key=theirs[1]))
    manifest = store.engines / key / "engine.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")  # the same JSON in other bytes
    assert fault_of(store, key, StorePolicy(signatures="enforce", public_key=ours[1]))


def test_an_engine_that_was_built_here_needs_no_signature(publish, ours, tmp_path: Path) -> None:
    store = Store(tmp_path)
    engine = publish(store)
    enforced = StorePolicy(signatures="enforce", public_key=ours[1])
    assert fault_of(store, engine.manifest.key, enforced) == ""
    assert not obtained(store, engine.manifest.key, engine, enforced)[0]


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"place": "", "signatures": 7}', '{"signatures": []}'])
def test_an_engine_whose_record_is_lost_is_one_from_elsewhere(text, publish, ours, tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = publish(store).manifest.key
    (record,) = (tmp_path / "provenance").iterdir()
    record.unlink() if text is None else record.write_text(text)
    assert "it is not signed" in fault_of(store, key, StorePolicy(signatures="enforce", public_key=ours[1]))
    assert fault_of(store, key, StorePolicy()) == ""


def test_the_record_goes_with_the_engine(publish, tmp_path: Path) -> None:
    store = Store(tmp_path)
    records = tmp_path / "provenance"
    assert store.discard(publish(store).manifest.key)
    assert [*records.iterdir()] == []
    kept = publish(store, "kept")
    store.quarantine(publish(store, "damaged").manifest.key)
    clear_remains(store)
    assert [path.name.startswith(kept.manifest.key) for path in records.iterdir()] == [True]


@pytest.mark.parametrize("signatures", ["warn", "enforce"])
def test_a_key_that_is_missing_is_never_taken_for_a_signature(signatures, publish, tmp_path: Path) -> None:
    engine = publish(Store(tmp_path / "a"))
    share = tmp_path / "share"
    share.mkdir()
    push(engine, f"file://{share}", StorePolicy(), Silent())
    for key in (None, tmp_path / "nowhere.pub"):
        with pytest.raises(UsageError):
            fetched(tmp_path / "b", engine.manifest.key, f"file://{share}", signatures, key)


@pytest.mark.parametrize("option", ["public-key", "private-key"])
@pytest.mark.parametrize("content", [None, "", "no key"])
def test_a_key_that_cannot_be_used_is_noticed_before_anything_else(option, content, tmp_path: Path, cli) -> None:
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_text(content)
    for command in (("build", "org/nowhere"), ("engines", "verify"), ("serve", "org/nowhere")):
        ran = cli.run(*command, f"--{option}", str(file))
        assert ran.returncode == 64, ran.stderr
        assert f"the key {file} cannot be used" in ran.stderr


@pytest.mark.parametrize("name", ["weights.bin", "engine.json", "graph"])
def test_an_engine_with_a_link_out_of_its_directory_is_neither_served_nor_taken(name, publish, tmp_path: Path) -> None:
    """Its tokenizer could be any file of this machine whose size is known."""
    engine = publish(Store(tmp_path / "a"))
    exported = export_engine(engine, tmp_path / "exported", StorePolicy())
    (exported / name).rename(tmp_path / "secret")
    (exported / name).symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="is a link out of its directory"):
        finished_engine(exported)
    store = Store(tmp_path / "b")
    with pytest.raises(ModelError):
        import_engine(store, exported, StorePolicy(), Silent())
    assert store.list() == ()
