"""Engines of the demo model, each built once a session by the real worker process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from built_engines import chosen, log_probabilities, sampled

from stoker.build import calibration
from stoker.build.worker import run_build
from stoker.kinds.openvino import KIND
from stoker.progress import Silent
from stoker.resolve.resolve import resolve


@pytest.fixture(scope="session")
def demo_engine(tmp_path_factory) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """`demo_engine(precision)`: the directory and the record of that engine of the demo model."""
    short = Path(calibration.__file__).parent / "dialogue.txt"  # a quarter of the text, for a quarter of the time
    texts = {"int4_gptq": short, "int8_sq": short}
    model = resolve("demo", tmp_path_factory.mktemp("cache"), Silent())
    built: dict[str, tuple[Path, dict[str, Any]]] = {}

    def engine(precision: str) -> tuple[Path, dict[str, Any]]:
        if precision not in built:
            directory = tmp_path_factory.mktemp(precision)
            record = run_build(KIND.build, model, chosen(precision), directory, Silent(), texts.get(precision))
            built[precision] = directory, record
        return built[precision]

    return engine


@pytest.fixture(scope="session")
def reference(demo_engine):
    """Token ids that the demo model produced, and the f32 engine's log probabilities for them."""
    directory, _ = demo_engine("f32")
    ids = sampled(directory, 8, 128)
    return ids, log_probabilities(directory, ids)
