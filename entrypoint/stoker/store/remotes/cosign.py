"""The documents of a cosign signature: a "simple signing" payload in an image manifest of its own.

https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import hashlib
import json

from stoker.json_text import parse_json

SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def tag_of(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def payload(reference: str, digest: str) -> bytes:
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def digest_in(document: bytes) -> str:
    """The manifest digest that a payload vouches for; empty where it is none."""
    try:
        return str(parse_json(document)["critical"]["image"]["docker-manifest-digest"])
    except (ValueError, KeyError, TypeError):
        return ""


def signature_of(layer: object) -> bytes | None:
    """That which a layer of a signature's manifest carries; None where it carries none."""
    annotations = layer.get("annotations") if isinstance(layer, dict) else None
    text = annotations.get(SIGNATURE_ANNOTATION) if isinstance(annotations, dict) else None
    try:
        return base64.b64decode(text) if isinstance(text, str) else None
    except ValueError:
        return None


def config(signed: bytes) -> bytes:
    """The least image configuration that registries and cosign accept."""
    layer = f"sha256:{hashlib.sha256(signed).hexdigest()}"
    rootfs = {"type": "layers", "diff_ids": [layer]}
    return json.dumps({"architecture": "", "os": "", "config": {}, "rootfs": rootfs}).encode()


def manifest(signed: bytes, configuration: bytes, signature: bytes) -> dict[str, object]:
    annotations = {SIGNATURE_ANNOTATION: base64.b64encode(signature).decode()}
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, configuration),
        "layers": [{**_descriptor(_PAYLOAD, signed), "annotations": annotations}],
    }


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
