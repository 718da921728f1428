"""Tests that need PyTorch: `make test-torch`, in an environment of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

INTEGRATION = Path(__file__).parents[1] / "integration"
sys.path += [str(Path(__file__).parent), str(INTEGRATION / "goldens")]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_chain = _load("chain_conftest", INTEGRATION / "chain" / "conftest.py")
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
