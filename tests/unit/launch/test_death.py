from __future__ import annotations

import os
from pathlib import Path

import pytest

from stoker.launch import shared_memory
from stoker.launch.death import last_words

STUB_ERROR = (
    'E1123 13:40:48.091190 28192 backend_model.cc:692] "ERROR: Failed to create instance: RuntimeError: no\\n'
    'such file\\n\\nAt:\\n  /somewhere/model.py(3): <module>\\n"'
)


def test_the_first_error_is_told_without_its_traceback():
    later = 'E1123 13:40:48.1 28192 model_lifecycle.cc:642] "failed to load"'
    said = last_words([STUB_ERROR, later, "error: creating server: Internal - failed to load all models"])
    assert said == "ERROR: Failed to create instance: RuntimeError: no such file"


def test_without_errors_the_last_lines_are_told():
    assert last_words(["one", "two", "terminate called after throwing"]) == "two | terminate called after throwing"
    assert last_words([]) == "it said nothing"


@pytest.fixture
def regions(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)
    return tmp_path


def test_regions_of_dead_processes_go_and_those_of_living_ones_stay(regions):
    alive = shared_memory.new_prefix()
    _, namespace, _, started, run, _ = alive.split("-")
    (regions / f"{alive}abc").touch()
    (regions / f"stoker-{namespace}-{os.getpid()}-{int(started) + 1}-{run}-abc").touch()
    (regions / f"stoker-{int(namespace) + 1}-{os.getpid()}-{int(started) + 1}-{run}-abc").touch()
    (regions / "another-program").touch()
    shared_memory.remove_stale_regions()
    left = {path.name for path in regions.iterdir()}
    assert left == {
        f"{alive}abc",
        f"stoker-{int(namespace) + 1}-{os.getpid()}-{int(started) + 1}-{run}-abc",
        "another-program",
    }
    shared_memory.remove_regions(alive)
    assert f"{alive}abc" not in {path.name for path in regions.iterdir()}
