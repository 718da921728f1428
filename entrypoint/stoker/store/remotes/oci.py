"""oci://registry/repository: engines as OCI artifacts, `<repository>:<key>`.

The config is engine.json and each file a layer under its own SHA-256, so that files which engines share are kept and
sent once, and any tool that copies images copies engines. Credentials are those of `docker login`, helpers included. A
signature is cosign's: an artifact `sha256-<digest>.sig` beside it, so `cosign verify --key` understands ours and we
understand what `cosign sign --key` made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from stoker.json_text import parse_json
from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount
from stoker.store.engine import EngineFile
from stoker.store.manifest import parse_manifest
from stoker.store.remotes import cosign
from stoker.store.remotes.registry import MANIFEST, Registry, digest_of
from stoker.store.remotes.remote import Offer, RemoteError, Signed

ARTIFACT = "application/vnd.stoker.engine.v1"
CONFIG = "application/vnd.stoker.engine.config.v1+json"
FILE = "application/vnd.stoker.engine.file.v1"
TITLE = "org.opencontainers.image.title"
_MOST_SIGNATURES = 16


class OciRemote:
    def __init__(self, address: str, host: str, repository: str) -> None:
        self.address = address
        self._registry = Registry(host, repository)

    def offer(self, key: str) -> Offer | None:
        found = self._registry.manifest(key)
        if found is None:
            return None
        config = self._registry.blob(_digest(_document(found).get("config")))
        return Offer(config, tuple(self._signatures(found)))

    def open(self, key: str, file: EngineFile, start: int, end: int) -> AbstractContextManager[Iterable[bytes]]:  # noqa: ARG002
        """By its contents alone: the key does not matter."""
        return self._registry.blob_range(f"sha256:{file.sha256}", start, end)

    def put(self, key: str, directory: Path, offer: Offer, progress: Progress) -> None:
        """What the registry has already is not sent again. The tag comes last."""
        files = parse_manifest(offer.manifest).files
        count = ByteCount(progress, sum(file.size for file in files))
        for file in files:
            self._registry.put_blob(f"sha256:{file.sha256}", file.size, _opener(directory / file.path))
            count.add(file.size)
        self._registry.put_bytes(offer.manifest)
        self._tag(key, _artifact(offer.manifest, files))

    def sign(self, key: str, sign: Callable[[bytes], bytes]) -> None:
        """Signs what is tagged; `sign` turns a payload into a signature."""
        found = self._registry.manifest(key)
        if found is None:
            raise RemoteError(f"{key} is not there to be signed")
        digest = digest_of(found)
        payload = cosign.payload(f"{self._registry.host}/{self._registry.repository}", digest)
        config = cosign.config(payload)
        self._registry.put_bytes(payload)
        self._registry.put_bytes(config)
        self._tag(cosign.tag_of(digest), cosign.manifest(payload, config, sign(payload)))

    def _signatures(self, manifest: bytes) -> Iterator[Signed]:
        found = self._registry.manifest(cosign.tag_of(digest_of(manifest)))
        layers = _document(found).get("layers") if found else None
        for layer in layers[:_MOST_SIGNATURES] if isinstance(layers, list) else ():
            if signature := cosign.signature_of(layer):
                yield Signed(self._registry.blob(_digest(layer)), signature, manifest)

    def _tag(self, tag: str, document: Mapping[str, object]) -> None:
        self._registry.put_manifest(tag, json.dumps(document, separators=(",", ":")).encode())


def _document(manifest: bytes) -> dict[str, object]:
    try:
        found = parse_json(manifest)
    except ValueError as error:
        raise RemoteError("its manifest is not JSON") from error
    if not isinstance(found, dict):
        raise RemoteError("its manifest is not one of an engine")
    return found


def _digest(descriptor: object) -> str:
    """Empty, which is no digest, for what is no descriptor."""
    return str(descriptor.get("digest", "")) if isinstance(descriptor, dict) else ""


def _artifact(manifest: bytes, files: Iterable[EngineFile]) -> dict[str, object]:
    config = {"mediaType": CONFIG, "digest": digest_of(manifest), "size": len(manifest)}
    layers = [
        {"mediaType": FILE, "digest": f"sha256:{file.sha256}", "size": file.size, "annotations": {TITLE: file.path}}
        for file in files
    ]
    return {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT, "config": config, "layers": layers}


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")
