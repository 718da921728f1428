"""Where an engine comes from, and whether that is good enough: asked whenever one is fetched, found or passed on.

`provenance/<key>.<digest of engine.json>.json` in the cache says where an engine came from, with the signatures it came
with. One that was built here is trusted as the cache itself is. Every other one, also one without such a record, is
judged by the policy of the process that uses it now, not by that of the process that fetched it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import UsageError
from stoker.json_text import parse_json
from stoker.progress import Progress
from stoker.redaction import redacted
from stoker.store.engine import Engine
from stoker.store.manifest import NAME, SIGNATURE, UntrustedEngineError
from stoker.store.owner import this_process
from stoker.store.policy import StorePolicy
from stoker.store.remotes.cosign import digest_in
from stoker.store.remotes.remote import Signed
from stoker.store.signature import is_signed

_FOLDER = "provenance"


@dataclass(frozen=True)
class Provenance:
    """`place`: a remote's address or a directory; empty for what was built here."""

    place: str = ""
    signed: tuple[Signed, ...] = ()


def record(directory: Path, provenance: Provenance, key: str, cache: Path) -> None:
    """Of an engine that is whole, before it is moved into its place. It is bound to these bytes of engine.json: should
    another process be quicker with that key, its engine has a record of its own."""
    document = {
        "place": redacted(provenance.place),
        "signatures": [
            {name: base64.b64encode(part).decode() for name, part in vars(signed).items()}
            for signed in provenance.signed
        ],
    }
    path = _record_of(cache, key, (directory / NAME).read_bytes())
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{this_process()}")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)


def forget(cache: Path, key: str) -> None:
    """With the engine."""
    for path in (cache / _FOLDER).glob(f"{key}.*"):
        path.unlink(missing_ok=True)


def forget_others(cache: Path, kept: Collection[str]) -> None:
    """Records of engines that were removed, by whichever way."""
    for path in (cache / _FOLDER).glob("*.json"):
        if path.name.rsplit(".", 2)[0] not in kept:
            path.unlink(missing_ok=True)


def provenance_of(engine: Engine) -> Provenance | None:
    """None where nothing tells, or not in our words."""
    cache = engine.directory.parent.parent
    try:
        path = _record_of(cache, engine.manifest.key, (engine.directory / NAME).read_bytes())
        document = parse_json(path.read_bytes())
        signed = (
            Signed(**{name: base64.b64decode(part) for name, part in each.items()}) for each in document["signatures"]
        )
        return Provenance(str(document["place"]), tuple(signed))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _record_of(cache: Path, key: str, manifest: bytes) -> Path:
    return cache / _FOLDER / f"{key}.{hashlib.sha256(manifest).hexdigest()[:32]}.json"


def signed_parts(directory: Path) -> tuple[Signed, ...]:
    """The signature file beside engine.json, as exports carry it."""
    with contextlib.suppress(OSError, ValueError):
        signature = base64.b64decode((directory / SIGNATURE).read_bytes())
        return (Signed((directory / NAME).read_bytes(), signature),)
    return ()


def check_trusted(engine: Engine, policy: StorePolicy, progress: Progress) -> None:
    """For an engine of the store. UntrustedEngineError where the policy forbids it; a note where it warns."""
    provenance = provenance_of(engine)
    if _is_own(provenance):
        return
    signed = (*signed_parts(engine.directory), *(provenance.signed if provenance else ()))
    check_signature((engine.directory / NAME).read_bytes(), signed, policy, progress, place_of(engine))


def built_here(engine: Engine) -> bool:
    """And so trusted as the cache itself is."""
    return _is_own(provenance_of(engine))


def _is_own(provenance: Provenance | None) -> bool:
    return provenance is not None and not provenance.place


def place_of(engine: Engine) -> str:
    """Where an engine of the store came from, for people."""
    provenance = provenance_of(engine)
    if provenance is None:
        return "an unknown place"
    return provenance.place or "built here"


def check_signature(
    manifest: bytes, signed: tuple[Signed, ...], policy: StorePolicy, progress: Progress, place: str
) -> None:
    """UntrustedEngineError where none of `signed` is for this engine.json and by the policy's key, and the policy
    forbids that; a note where it warns. UsageError for a key that is missing or unusable."""
    if policy.signatures == "off":
        return
    if policy.public_key is None:
        raise UsageError(f"signatures={policy.signatures} needs a key", remedy="name it with --public-key FILE")
    if is_signed(policy.public_key, (each for each in signed if _is_for(each, manifest))):
        return
    why = "its signature is not by the expected key" if signed else "it is not signed"
    if policy.signatures == "enforce":
        raise UntrustedEngineError(f"{why}, and signatures are enforced")
    progress.note(f"warning: the engine from {redacted(place)}: {why}")


def _is_for(signed: Signed, manifest: bytes) -> bool:
    """Whether what was signed is engine.json, or names the registry's manifest that names engine.json."""
    if signed.payload == manifest:
        return True
    return digest_in(signed.payload) == _digest(signed.link) and _config_digest(signed.link) == _digest(manifest)


def _config_digest(registry_manifest: bytes) -> str:
    try:
        return str(parse_json(registry_manifest)["config"]["digest"])
    except (ValueError, KeyError, TypeError):
        return ""


def _digest(document: bytes) -> str:
    return f"sha256:{hashlib.sha256(document).hexdigest()}"
