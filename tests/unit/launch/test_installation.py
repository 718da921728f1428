from __future__ import annotations

import os
from dataclasses import replace

import pytest

from stoker.errors import EngineError
from stoker.launch import installation
from stoker.launch.installation import assemble_backends, find_installation, server_environment


def test_a_machine_without_triton_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"\.\[cpu\]' in"):
        find_installation()


def test_a_python_without_a_shared_library_is_told_its_package(monkeypatch):
    monkeypatch.setattr(installation, "find_libpython", lambda: None)
    with pytest.raises(EngineError, match=r"apt install libpython3\.\d+"):
        find_installation()


def test_an_incomplete_wheel_names_the_missing_part(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tritonserver").touch()
    monkeypatch.setattr(installation, "_wheel_root", lambda: tmp_path)
    with pytest.raises(EngineError, match=r"Python backend.*libtriton_python\.so"):
        find_installation()


def test_the_backend_finds_its_stub_beside_it(tmp_path):
    found = find_installation()
    folder = assemble_backends(found, tmp_path / "backends") / "python"
    assert {path.name for path in folder.iterdir()} >= {"libtriton_python.so", "triton_python_backend_stub"}
    assert all(path.resolve().is_file() for path in folder.iterdir())
    assert os.access(folder / "triton_python_backend_stub", os.X_OK)


def test_libraries_come_before_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    found = find_installation()
    path = server_environment(found)["LD_LIBRARY_PATH"].split(os.pathsep)
    assert path == [*map(str, found.libraries), "/somewhere"]


def test_the_server_asks_for_huge_pages_unless_the_user_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_installation()
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert server_environment(found)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    assert server_environment(found)["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    assert server_environment(found)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"


def test_a_stub_that_may_not_be_executed_is_copied_and_the_installations_own_stays_as_it_is(tmp_path):
    (tmp_path / "installed").mkdir()
    stub = tmp_path / "installed" / "triton_python_backend_stub"
    stub.write_bytes(b"a program")
    stub.chmod(0o644)
    found = replace(find_installation(), stub=stub)
    own = assemble_backends(found, tmp_path / "backends") / "python" / stub.name
    assert not own.is_symlink()
    assert (own.read_bytes(), own.stat().st_mode & 0o777) == (b"a program", 0o700)
    assert stub.stat().st_mode & 0o777 == 0o644


def test_a_triton_that_is_killed_leaves_nothing_in_tmp(tmp_path):
    """Its library makes a directory when it is loaded, and removes it at its end alone: in the run directory, then."""
    found = find_installation()
    library = assemble_backends(found, tmp_path / "backends") / "python" / "libtriton_python.so"
    own = (found.backend / library.name).read_bytes()
    assert own.count(b"/tmp/python_env_") == 1
    assert library.read_bytes() == own.replace(b"/tmp/python_env_", b"./python_env____")


def test_another_build_of_the_library_is_taken_as_it_is(tmp_path):
    found = find_installation()
    other = tmp_path / "other"
    other.mkdir()
    (other / "libtriton_python.so").write_bytes(b"no such constant")
    folder = assemble_backends(replace(found, backend=other), tmp_path / "backends") / "python"
    assert (folder / "libtriton_python.so").is_symlink()
