"""Damage that the disk itself reports."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from stoker.store import integrity, manifest
from stoker.store.engine import SCHEMA, Engine, EngineFile, Manifest


def engine_in(directory: Path) -> Engine:
    (directory / "weights.bin").write_bytes(b"weights")
    digest = manifest.file_digest(directory / "weights.bin")
    files = (EngineFile("weights.bin", 7, digest),)
    return Engine(directory, Manifest(SCHEMA, "key", "openvino", "demo", "", {}, {}, {}, files=files))


def test_a_whole_engine_has_none(tmp_path: Path) -> None:
    assert integrity.damage_of(engine_in(tmp_path)) == ""


def test_a_file_that_cannot_be_read_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    engine = engine_in(tmp_path)
    monkeypatch.setattr(manifest, "file_digest", fail)
    assert "Input/output error" in integrity.damage_of(engine)
    assert "weights.bin" in integrity.damage_of(engine)
