"""What is handed to Triton for each GPU kind and number of GPUs: the command line, and config.pbtxt as golden files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from stoker.kinds import kind_named
from stoker.launch.contract import MODEL_NAME
from stoker.launch.run_directory import RunDirectory
from stoker.launch.server import server_arguments
from stoker.plan.types import Chosen, KvPool
from stoker.store.engine import Engine, Manifest

HERE = Path(__file__).parent


@pytest.fixture
def image(tmp_path, monkeypatch):
    """Triton's folders as NVIDIA's image has them, and mpirun, all empty."""
    for name in ("bin/tritonserver", "bin/mpirun", "bin/setpriv", "backends/python/triton_python_backend_stub"):
        program = tmp_path / "triton" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (tmp_path / "triton/backends/tensorrtllm").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "triton/bin"))
    return tmp_path / "triton"


def command_for(kind: str, gpus: int, tmp_path: Path):
    stored = tmp_path / "stored"
    (stored / "engine").mkdir(parents=True)
    for rank in range(gpus):
        (stored / f"engine/rank{rank}.engine").touch()
    devices = tuple(range(gpus))
    chosen = Chosen("p", kind, "text", "fp8", "fp8", "bf16", gpus, 1, devices, 64, 8192, 32768, 16)
    engine = Engine(stored, Manifest(1, "key", kind, "model", "", {}, {}, {}))
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    serials = [f"GPU-{index}" for index in devices]
    return kind_named(kind).launch.open(engine, chosen, KvPool(4096, 32, 1), serials).command(run)


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("kind", ["tensorrt_llm", "tensorrt_llm_pytorch"])
def test_the_config_is_the_golden_one_whatever_the_number_of_gpus(kind, gpus, image, tmp_path):
    """The ranks are told by mpirun, or by the LLM's arguments; Triton's configuration knows nothing of them."""
    command = command_for(kind, gpus, tmp_path)
    told = (command.repository / MODEL_NAME / "config.pbtxt").read_text()
    config = text_format.Parse(told, model_config_pb2.ModelConfig())
    assert config.backend == {"tensorrt_llm": "tensorrtllm", "tensorrt_llm_pytorch": "python"}[kind]
    assert told.replace(str(tmp_path), "") == (HERE / f"{kind}.pbtxt").read_text()


@pytest.mark.parametrize("gpus", [1, 2])
def test_the_command_line_has_a_server_for_each_rank_of_a_compiled_engine(gpus, image, tmp_path):
    command = command_for("tensorrt_llm", gpus, tmp_path)
    line = command.launcher(server_arguments(command))
    assert sum(Path(word).name == "tritonserver" for word in line) == gpus
    assert (Path(line[0]).name == "mpirun") == (gpus > 1)
    assert command.environment["CUDA_VISIBLE_DEVICES"] == ",".join(f"GPU-{index}" for index in range(gpus))


def test_the_pytorch_kind_is_one_server_whose_model_knows_its_interpreter(image, tmp_path):
    command = command_for("tensorrt_llm_pytorch", 2, tmp_path)
    line = command.launcher(server_arguments(command))
    assert Path(line[0]).name == "tritonserver"
    assert command.backends == image / "backends"
    model = (command.repository / MODEL_NAME / "1/model.py").read_text()
    assert f"sys.executable = named({sys.executable!r})" in model
    assert command.environment["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
