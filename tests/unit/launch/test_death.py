from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from stoker.launch import shared_memory
from stoker.launch.death import cause_of_death, last_words, out_of_memory_kills
from stoker.launch.server import TritonServer

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


def test_what_the_stub_says_of_its_engine_goes_before_what_others_say_at_their_end():
    said = [
        "ERROR stoker.kinds.some.relay: the engine failed: Worker_TP1 ended",
        "resource_tracker.py:254: UserWarning: there appear to be 3 leaked shared_memory objects",
        "  warnings.warn(",
    ]
    ended = SimpleNamespace(lines=deque(said), process=SimpleNamespace(returncode=None))
    error = cause_of_death(cast(TritonServer, ended), out_of_memory_kills())
    assert str(error) == "the engine process died: Worker_TP1 ended"


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
