"""Tests that need PyTorch: `make test-torch`, in an environment of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.loading import load

INTEGRATION = Path(__file__).parents[1] / "integration"
sys.path += [str(Path(__file__).parent), str(INTEGRATION / "goldens")]


_chain = load("chain_conftest", INTEGRATION / "chain" / "conftest.py")
start, cache = _chain.start, _chain.cache


@pytest.fixture(scope="session")
def stablelm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of an architecture that no builder knows, with the demo's tokenizer."""
    import engines

    return engines.tiny("stablelm", tmp_path_factory.mktemp("models") / "tiny-stablelm")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import engines

    return engines.tiny("llama", tmp_path_factory.mktemp("models") / "tiny-llama")
