from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import cast

import pytest

from stoker.errors import EngineError
from stoker.kinds.tensorrt_llm.runtime.ranks import under_mpirun
from stoker.launch import death
from stoker.launch.server import TritonServer

ARGUMENTS = ["tritonserver", "--backend-config=python,shm-region-prefix-name=stoker-1-", "--grpc-port=1"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    for name in ("mpirun", "setpriv"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_each_rank_is_a_server_with_shared_memory_of_its_own(programs):
    line = under_mpirun(3, 5)(ARGUMENTS)
    parts = " ".join(line).split(" : ")
    assert len(parts) == 3
    for rank, part in enumerate(parts):
        assert f"-n 1 {programs}/setpriv --pdeathsig KILL tritonserver" in part
        assert f"shm-region-prefix-name=stoker-1-r{rank}- --grpc-port=1" in part
    assert "--bind-to none" in parts[0]


def test_a_missing_mpirun_is_named_with_its_package(programs):
    (programs / "mpirun").unlink()
    with pytest.raises(EngineError, match="openmpi-bin"):
        under_mpirun(2, 5)


def test_the_rank_that_was_killed_is_named():
    said = "mpirun noticed that process rank 1 with PID 0 on node here exited on signal 9 (Killed)."
    ended = SimpleNamespace(lines=deque([said]), process=SimpleNamespace(returncode=137))
    error = death.cause_of_death(cast(TritonServer, ended), death.out_of_memory_kills())
    assert str(error) == "rank 1 of the engine was killed: signal 9 (Killed)"
