"""With TensorRT-LLM in another folder of packages than ours, as in our NVIDIA image."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from stoker.kinds.tensorrt_llm.runtime import packages

OURS = sysconfig.get_path("purelib")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "site-packages"
    (folder / "tensorrt_llm").mkdir(parents=True)
    (folder / "tensorrt_llm" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return str(folder)


def test_their_packages_come_before_ours_and_the_library_before_both(theirs: str) -> None:
    ordered = packages.theirs_first(sys.path)
    assert sorted(ordered) == sorted(sys.path)
    assert ordered[-2:] == [theirs, OURS]
    assert packages.theirs_first(["/elsewhere"]) == ["/elsewhere"]


def test_programs_see_theirs_first_and_what_was_set_after(theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/given")
    paths = packages.their_environment()["PYTHONPATH"].split(os.pathsep)
    assert theirs in paths
    assert OURS not in paths
    assert paths[-1] == "/given"


def test_one_folder_for_all_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt_llm").mkdir()
    (tmp_path / "tensorrt_llm" / "__init__.py").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert packages.theirs_first(sys.path) == sys.path
    assert packages.their_environment() == {}


def test_without_tensorrt_llm_nothing_changes() -> None:
    assert packages.theirs_first(sys.path) == sys.path
    assert packages.their_environment() == {}
