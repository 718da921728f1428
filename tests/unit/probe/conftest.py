"""Recorded machines: trees of /proc and /sys files, and NVML's library replaced by one that answers as told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.loading import load

FAKE_NVML = Path(__file__).parents[2] / "fake_nvml.py"


@pytest.fixture
def tree(tmp_path):
    """Writes files below a new root, given as path -> text, and returns the root."""
    root = tmp_path / "root"

    def write(files: Mapping[str, str]) -> Path:
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return write


@pytest.fixture(scope="session")
def fake_nvml():
    """The module tests/fake_nvml.py."""
    module = load("fake_nvml", FAKE_NVML)
    yield module
    del sys.modules["fake_nvml"]
