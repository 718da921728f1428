"""oci://registry/repository: engines as OCI artifacts, `<repository>:<key>`.

The config is engine.json and each file a layer under its own SHA-256, so that files which engines share are kept and
sent once, and any tool that copies images copies engines. Credentials are those of `docker login`, helpers included
(oras). A signature is cosign's: an artifact `sha256-<digest>.sig` beside it, so `cosign verify --key` understands ours
and we understand what `cosign sign --key` made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oras.container import Container
from oras.provider import Registry

from stoker.progress import Progress
from stoker.resolve.byte_count import ByteCount
from stoker.store.engine import EngineFile
from stoker.store.manifest import parse_manifest
from stoker.store.remotes import cosign
from stoker.store.remotes.remote import Offer, RemoteError, Signed
from stoker.store.remotes.web import check_status, impatient, ranged_body, translated

ARTIFACT = "application/vnd.stoker.engine.v1"
CONFIG = "application/vnd.stoker.engine.config.v1+json"
FILE = "application/vnd.stoker.engine.file.v1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"
_LOOPBACK = ("localhost", "127.", "[::1]")


class OciRemote:
    """Plain http is spoken to loopback only, as docker does."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self._container: Any = Container(name)
        self._base = f"{self._container.registry}/v2/{self._container.api_prefix}"
        self._registry = _Patient(insecure=self._container.registry.startswith(_LOOPBACK))
        with translated():
            self._registry.log_in(self._container)

    def offer(self, key: str) -> Offer | None:
        found = self._manifest(key)
        if found is None:
            return None
        raw, document = found
        config = self._blob(document["config"])
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return Offer(config, tuple(self._signatures(digest)))

    @contextmanager
    def open(self, key: str, file: EngineFile, start: int, end: int) -> Iterator[Iterable[bytes]]:  # noqa: ARG002
        """By its contents alone: the key does not matter."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        with translated(), self._ask("GET", f"blobs/sha256:{file.sha256}", headers=headers, stream=True) as response:
            yield ranged_body(response, start, end)

    def put(self, key: str, directory: Path, offer: Offer, progress: Progress) -> None:
        """What the registry has already is not sent again. The tag comes last."""
        files = parse_manifest(offer.manifest).files
        count = ByteCount(progress, sum(file.size for file in files))
        for file in files:
            with (directory / file.path).open("rb") as content:
                self._upload(f"sha256:{file.sha256}", file.size, content)
            count.add(file.size)
        self._upload_bytes(offer.manifest)
        self._tag(key, _document(offer.manifest, files))

    def sign(self, key: str, sign: Any) -> None:
        """Signs what is tagged; `sign` turns a payload into a signature."""
        found = self._manifest(key)
        if found is None:
            raise RemoteError(f"{key} is not there to be signed")
        digest = f"sha256:{hashlib.sha256(found[0]).hexdigest()}"
        payload = cosign.payload(f"{self._container.registry}/{self._container.api_prefix}", digest)
        config = cosign.config(payload)
        self._upload_bytes(payload)
        self._upload_bytes(config)
        self._tag(cosign.tag_of(digest), cosign.manifest(payload, config, sign(payload)))

    def _signatures(self, digest: str) -> Iterator[Signed]:
        found = self._manifest(cosign.tag_of(digest))
        for layer in found[1].get("layers", []) if found else []:
            signature = layer.get("annotations", {}).get(cosign.SIGNATURE_ANNOTATION)
            if signature is None:
                continue
            payload = self._blob(layer)
            if cosign.digest_in(payload) == digest:
                yield Signed(payload, base64.b64decode(signature))

    def _manifest(self, tag: str) -> tuple[bytes, dict[str, Any]] | None:
        with translated():
            response = self._ask("GET", f"manifests/{tag}", headers={"Accept": MANIFEST})
            if response.status_code == 404:
                return None
            check_status(response)
            document = json.loads(response.content)
        if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
            raise RemoteError(f"{tag} is not an engine")
        return bytes(response.content), document

    def _blob(self, descriptor: Mapping[str, Any]) -> bytes:
        """A small blob, checked against its digest."""
        digest = str(descriptor.get("digest", ""))
        with translated():
            response = self._ask("GET", f"blobs/{digest}")
            check_status(response)
        if f"sha256:{hashlib.sha256(response.content).hexdigest()}" != digest:
            raise RemoteError(f"its blob {digest[:19]} is not what its name says")
        return bytes(response.content)

    def _upload_bytes(self, data: bytes) -> None:
        self._upload(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)

    def _upload(self, digest: str, size: int, content: Any) -> None:
        with translated():
            if self._ask("HEAD", f"blobs/{digest}").status_code == 200:
                return
            begun = self._ask("POST", "blobs/uploads/")
            check_status(begun)
            location = self._registry.location(begun, self._container)
            url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            check_status(self._registry.do_request(url, "PUT", data=content, headers=headers))

    def _tag(self, tag: str, document: Mapping[str, Any]) -> None:
        data = json.dumps(document, separators=(",", ":")).encode()
        with translated():
            check_status(self._ask("PUT", f"manifests/{tag}", data=data, headers={"Content-Type": MANIFEST}))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._registry.do_request(f"{self._registry.prefix}://{self._base}/{path}", method, **options)


class _Patient(Registry):  # type: ignore[misc]
    """oras' registry, without its minutes of retries: fetching does its own, and a dead registry costs seconds."""

    def __init__(self, insecure: bool) -> None:
        super().__init__(insecure=insecure)
        impatient(self.session)

    def do_request(self, *arguments: Any, **options: Any) -> Any:
        """Once more with a new token where the old one has expired, or was for reading only."""
        answer = Registry.do_request.__wrapped__(self, *arguments, **options)
        if answer.status_code == 401 and getattr(self.auth, "token", None):
            self.auth.token = None
            answer = Registry.do_request.__wrapped__(self, *arguments, **options)
        return answer

    def log_in(self, container: Any) -> None:
        """Loads docker's credentials, and finds out whether the registry wants them plain or for a token."""
        answer = self.session.get(f"{self.prefix}://{container.registry}/v2/")
        self.auth.load_configs(container, _docker_configs())
        if answer.headers.get("Www-Authenticate", "").lower().startswith("basic"):
            password = getattr(self.auth, "_basic_auth", None)
            if password is None:
                raise RemoteError(f"{container.registry} wants a password: `docker login {container.registry}`")
            self.session.headers["Authorization"] = f"Basic {password}"

    def location(self, response: Any, container: Any) -> str:
        return str(self._get_location(response, container))


def _docker_configs() -> list[str]:
    """Where `docker login` and `podman login` write, beside docker's default, which oras reads by itself."""
    found = [Path(folder, "config.json") for folder in (os.environ.get("DOCKER_CONFIG"),) if folder]
    found += [Path(file) for file in (os.environ.get("REGISTRY_AUTH_FILE"),) if file]
    return [str(path) for path in found if path.is_file()]


def _document(manifest: bytes, files: Iterable[EngineFile]) -> dict[str, Any]:
    config = {
        "mediaType": CONFIG,
        "digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        "size": len(manifest),
    }
    layers = [
        {"mediaType": FILE, "digest": f"sha256:{file.sha256}", "size": file.size, "annotations": {TITLE: file.path}}
        for file in files
    ]
    return {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT, "config": config, "layers": layers}
