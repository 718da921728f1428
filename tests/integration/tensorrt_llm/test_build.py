"""Builds by the stand-ins for TensorRT-LLM's tools, in the real worker process: results, failures, and what is left."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from stoker.build.jobs import Job, Site, as_json
from stoker.build.worker import BuildCancelledError, run_build
from stoker.errors import BuildError, OutOfMemoryError, UnsupportedModelError
from stoker.kinds.tensorrt_llm import KIND
from stoker.plan.types import Chosen
from stoker.processes import process_lives, session_members
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.resolve import resolve

ROOT = Path(__file__).parents[2]
IMAGE = runpy.run_path(str(ROOT / "fake_tensorrt_llm_tools" / "image.py"))
GPUS = ("GPU-0", "GPU-1")


class Listener(Silent):
    """Cancels at the phase whose detail has `stop_at` in it."""

    def __init__(self, stop_at: str = "") -> None:
        self.phases: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.cancel, self._stop_at = threading.Event(), stop_at

    def phase(self, name: str, detail: str = "") -> None:
        self.phases.append(detail)
        if self._stop_at and self._stop_at in detail:
            self.cancel.set()

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.steps.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


def chosen(precision: str = "bf16", ranks: int = 1) -> Chosen:
    cache = "fp8" if precision == "fp8" else "bf16"
    return Chosen("p", "tensorrt_llm", "text", precision, cache, "bf16", ranks, 1, tuple(range(ranks)), 8, 64, 512, 1)


@pytest.fixture
def tools(tmp_path, monkeypatch) -> None:
    path = f"{IMAGE['make_tools'](tmp_path / 'image')}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)


@pytest.fixture
def workspace(tmp_path) -> Path:
    """As the store makes them: the engine's directory, alone in one of its own."""
    directory = tmp_path / "build-x" / "engine"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def build(tools, workspace, tmp_path):
    def run(wanted: Chosen, listener: Listener | None = None, at_once: int = 1):
        listener = listener or Listener()
        model = resolve("demo", tmp_path / "cache", Silent())
        site = Site(GPUS[: wanted.tensor_parallel], at_once, str(tmp_path / "logs"))
        return run_build(KIND.build, model, wanted, workspace, listener, None, listener.cancel, site)

    return run


def test_convert_and_build(build, workspace):
    listener = Listener()
    record = build(chosen(), listener)
    assert {"engine/rank0.engine", "engine/config.json", "tokenizer.json", "logs/convert.log", "logs/build.log"} <= {
        path.relative_to(workspace).as_posix() for path in workspace.rglob("*")
    }
    assert [step["tool"] for step in record["steps"]] == ["convert", "build"]
    assert all(step["seconds"] > 0 and step["peak_rss_bytes"] > 1 << 20 for step in record["steps"])
    assert record["peak_rss_bytes"] == max(step["peak_rss_bytes"] for step in record["steps"])
    assert record["steps"][1]["compiler_peak_bytes"] == 40291 << 20
    assert "step 2 of 2, compiling" in listener.phases
    assert (5, 5) in listener.steps
    assert list(workspace.parent.iterdir()) == [workspace]


def test_the_users_text_calibrates_and_another_release_is_told(tools, workspace, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("A line of the user's.\n" * 200)
    (folder,) = (tmp_path / "image").glob("opt/*/lib/*/site-packages/tensorrt_llm-*")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt-llm\nVersion: 1.1.0\n")
    listener = Listener()
    model = resolve("demo", tmp_path / "cache", Silent())
    record = run_build(KIND.build, model, chosen("fp8"), workspace, listener, text, site=Site(GPUS[:1]))
    assert record["calibration"]["source"] == str(text)
    assert record["calibration"]["rows"] == 3
    assert listener.notes == ["TensorRT-LLM 1.1.0: its flags were checked against 1.2.x only"]


def test_two_ranks_are_made_side_by_side_and_a_quantised_one_is_calibrated_on_our_text(build, workspace):
    record = build(chosen("fp8", 2), at_once=2)
    config = json.loads((workspace / "engine" / "config.json").read_text())
    assert config["build_config"]["workers"] == 2
    assert config["pretrained_config"]["quantization"] == {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    assert (workspace / "engine" / "rank1.engine").is_file()
    assert record["calibration"]["source"] == "package"
    assert record["calibration"]["rows"] > 10


def test_a_nemo_archive_goes_to_its_own_converter(tools, workspace, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(DEMO_DIRECTORY / "tokenizer.json", source)
    config = {"num_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "encoder_seq_length": 128}
    files = {"model_config.yaml": json.dumps(config), "model_weights.ckpt": "weights"}
    with tarfile.open(source / "gpt.nemo", "w") as tar:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
            tar.add(tmp_path / name, name)
    model = resolve(str(source / "gpt.nemo"), tmp_path / "cache", Silent())
    run_build(KIND.build, model, chosen(), workspace, Silent(), site=Site(GPUS[:1]))
    built = json.loads((workspace / "engine" / "config.json").read_text())["pretrained_config"]
    assert (built["architecture"], built["hidden_size"]) == ("GPTForCausalLM", 64)


def test_a_tokenizer_that_cannot_be_used_is_told_before_the_work(tools, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT_LLM_FAIL", "convert:hangs")
    shutil.copytree(DEMO_DIRECTORY, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    model = resolve(str(tmp_path / "model"), tmp_path / "cache", Silent())
    with pytest.raises(UnsupportedModelError, match="tokenizers library does not read it"):
        run_build(KIND.build, model, chosen(), workspace, Silent(), site=Site(GPUS[:1]))


@pytest.mark.parametrize(
    ("fail", "error", "said"),
    [
        ("convert:killed", OutOfMemoryError, "converter ran out of the host's memory: killed by SIGKILL"),
        ("convert:memory", OutOfMemoryError, "converter ran out of the host's memory: exit code 1: MemoryError"),
        ("build:worker-killed", OutOfMemoryError, "trtllm-build ran out of the host's memory: exit code 1"),
        ("build:gpu-memory", BuildError, "trtllm-build ran out of the GPU's memory"),
        ("build:error", BuildError, "trtllm-build failed: exit code 1: RuntimeError: build cannot do this"),
        ("build:silent", BuildError, "left no config.json"),
    ],
)
def test_a_failure_says_why_keeps_its_log_and_leaves_nothing_else(
    fail, error, said, build, workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("FAKE_TENSORRT_LLM_FAIL", fail)
    with pytest.raises(error, match=said) as caught:
        build(chosen(ranks=2), at_once=2)
    assert type(caught.value) is error
    log = tmp_path / "logs" / f"{fail.partition(':')[0]}.log"
    assert str(log) in caught.value.remedy
    assert log.read_text().startswith("$ ")
    assert list(workspace.parent.iterdir()) == [workspace]
    assert not running(tmp_path)


def running(tmp_path: Path) -> list[int]:
    """Living processes that this test's builds have started: their variables tell."""
    mark, found = f"HF_HOME={tmp_path}/".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes() and process_lives(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("tool", ["convert", "build"])
def test_a_cancelled_build_leaves_no_process(tool, build, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_TENSORRT_LLM_FAIL", f"{tool}:hangs")
    listener = Listener("converting" if tool == "convert" else "compiling")
    with pytest.raises(BuildCancelledError):
        build(chosen(ranks=2), listener, at_once=2)
    assert not running(tmp_path)


def test_the_tools_end_when_the_server_is_killed(tools, workspace, tmp_path, monkeypatch):
    """Nobody is left to end them then: the worker does, on the signal that its parent's end sends."""
    monkeypatch.setenv("FAKE_TENSORRT_LLM_FAIL", "build:hangs")
    model = resolve("demo", tmp_path / "cache", Silent())
    job = Job(model, chosen(ranks=2), str(workspace), "", Site(GPUS, 2))
    program = (
        "import os, subprocess, sys\n"
        "module = 'stoker.kinds.tensorrt_llm.build.worker'\n"
        "worker = subprocess.Popen([sys.executable, '-m', module, str(os.getpid())],\n"
        "    stdin=subprocess.PIPE, start_new_session=True)\n"
        f"worker.communicate({json.dumps(as_json(job)).encode()!r})\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        while "compiling" not in server.stdout.readline():
            pass
        worker = next(pid for pid in children(server.pid))
        assert len(session_members(worker)) >= 4  # the worker, the tool, and its two ranks
        server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(process_lives(pid) for pid in session_members(worker)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert list(workspace.parent.iterdir()) == [workspace]


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
