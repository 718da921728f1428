"""engine.json: written last, read first."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from stoker.json_text import parse_json
from stoker.store.engine import SCHEMA, EngineFile, Manifest

NAME = "engine.json"
SIGNATURE = "engine.json.sig"
OWN_FILES = (NAME, SIGNATURE)
JOURNAL = ".parts"  # of a transfer that is not finished
_CHUNK = 1 << 20
_OWN_DIGEST = "sha256"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_NAME = 255  # bytes
_MOST_FILES = 10_000
_MOST_BYTES = 1 << 50
_FIELDS = {
    **dict.fromkeys(("key", "kind", "served_name", "revision"), str),
    **dict.fromkeys(("chosen", "inputs", "versions", "build", "model"), dict),
}


class UnusableEngineError(Exception):
    """This directory is not an engine to serve; the text says what is wrong with it."""


class UntrustedEngineError(UnusableEngineError):
    """It may be whole, but the policy forbids to use it."""


def read_manifest(directory: Path) -> Manifest:
    """Raises UnusableEngineError where the manifest is absent, of another schema, or not one at all."""
    try:
        return parse_manifest((directory / NAME).read_bytes())
    except FileNotFoundError as error:
        raise UnusableEngineError(f"{directory.name} has no {NAME}") from error
    except OSError as error:
        raise UnusableEngineError(f"{directory.name}/{NAME} cannot be read: {error}") from error


def parse_manifest(data: bytes) -> Manifest:
    """UnusableEngineError for what is no manifest, or names files outside the engine's directory."""
    try:
        return _manifest(parse_json(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableEngineError(f"{NAME} cannot be read: {str(error)[:300]}") from error


def check_sizes(directory: Path, manifest: Manifest) -> None:
    """Cheap enough for every start. Raises UnusableEngineError that names the first file at fault."""
    for file in manifest.files:
        try:
            size = (directory / file.path).stat().st_size
        except OSError as error:
            raise UnusableEngineError(f"{file.path} is missing") from error
        if size != file.size:
            raise UnusableEngineError(f"{file.path} has {size} bytes instead of {file.size}")


def check_digests(directory: Path, manifest: Manifest) -> None:
    """Reads every byte. Raises UnusableEngineError that names the first file at fault."""
    check_sizes(directory, manifest)
    for file in manifest.files:
        if file_digest(directory / file.path) != file.sha256:
            raise UnusableEngineError(f"{file.path} is not the file that was built")


def describe_files(directory: Path) -> tuple[EngineFile, ...]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in OWN_FILES)
    return tuple(
        EngineFile(path.relative_to(directory).as_posix(), path.stat().st_size, file_digest(path)) for path in paths
    )


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Written whole and flushed to the disk, so that a power cut leaves either no manifest or all of it."""
    path = directory / NAME
    with path.open("w") as file:
        document = asdict(manifest)
        json.dump({**document, _OWN_DIGEST: _digest(document)}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _manifest(document: dict[str, Any]) -> Manifest:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}, this version reads {SCHEMA}")
    digest = document.pop(_OWN_DIGEST)
    if digest != _digest(document):
        raise ValueError(f"its own {_OWN_DIGEST} is not right")
    listed = document.pop("files")
    if not isinstance(listed, list) or len(listed) > _MOST_FILES:
        raise ValueError("its list of files is none")
    files = tuple(EngineFile(**file) for file in listed)
    for file in files:
        _check_file(file)
    _check_paths([PurePosixPath(file.path) for file in files])
    for name, kind in _FIELDS.items():
        if not isinstance(document.get(name, kind()), kind):
            raise ValueError(f"its {name} is {type(document[name]).__name__}")
    return Manifest(files=files, **document)


def _check_file(file: EngineFile) -> None:
    """ValueError, or TypeError, for what could not be a file of an engine's directory on any machine."""
    path = PurePosixPath(file.path)
    if not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"it has no SHA-256 of {file.path[:80]!r}")
    if type(file.size) is not int or not 0 <= file.size <= _MOST_BYTES:
        raise ValueError(f"it says that {file.path[:80]!r} has {str(file.size)[:30]} bytes")
    sound = path.parts and str(path) == file.path and path.parts[0] != "/" and ".." not in path.parts
    if not sound or _CONTROL.search(file.path) or max(len(part.encode()) for part in path.parts) > _LONGEST_NAME:
        raise ValueError(f"it names the file {file.path[:80]!r}")


def _check_paths(paths: Sequence[PurePosixPath]) -> None:
    known = {*paths, *map(PurePosixPath, OWN_FILES), PurePosixPath(JOURNAL)}
    if len(known) < len(paths) + len(OWN_FILES) + 1:
        raise ValueError("it names a file twice, or one that is not of the engine")
    if folder := next((path for path in paths if known.intersection(path.parents)), None):
        raise ValueError(f"it names {str(folder)[:80]!r} in what is a file itself")


def _digest(document: Mapping[str, Any]) -> str:
    """Of engine.json itself, so that a changed byte in it is noticed like one in any other file."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
