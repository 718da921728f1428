"""The parent's side of a build, with workers written here in place of the real one, and the real one's manners."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.waiting import wait_until_gone

from stoker.build.jobs import Job, as_json, job_from
from stoker.build.kind import BuildPart
from stoker.build.worker import BuildCancelledError, run_build
from stoker.errors import BuildError, DamagedModelError, UnsupportedModelError
from stoker.kinds import kind_named
from stoker.kinds.openvino import KIND
from stoker.kinds.openvino.build.precisions import encoding_for
from stoker.kinds.openvino.build.prequantized import Prequantized
from stoker.plan.types import Chosen
from stoker.processes import process_lives
from stoker.progress import Silent
from stoker.resolve.model import Architecture, Model, Quantization, Weights

CHOSEN = Chosen("cpu", "openvino", "text", "int8", "u8", "bf16", 1, 1, (0, 1), 8, 256, 2048, 2, 128)
SIZES = Architecture("LlamaForCausalLM", "llama", 2, 64, 128, 4, 2, 16, 256, 512, True, sliding_window=None)


def model_in(directory: Path, quantization: Quantization | None = None) -> Model:
    return Model(
        "ref", "demo", "abc", SIZES, Weights(1000, {"BF16": 2000}, ("a",)), {"model_type": "llama"}, directory,
        ("a", "b"), quantization,
    )  # fmt: skip


class Recorder(Silent):
    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.heard.append((name, detail))

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.heard.append((done, total, unit))

    def note(self, text: str) -> None:
        self.heard.append((text,))


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    """Makes `run_build` run the given program instead of the real worker."""

    def install(program: str) -> BuildPart:
        (tmp_path / "fake_build_worker.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return replace(KIND.build, worker="fake_build_worker")

    return install


def test_a_job_survives_json(tmp_path):
    quantization = Quantization("awq", 4, 128, {"version": "gemm", "list": [1, 2]})
    for model in (model_in(tmp_path), model_in(tmp_path, quantization)):
        job = Job(model, CHOSEN, str(tmp_path), "text.txt")
        assert job_from(json.loads(json.dumps(as_json(job)))) == job


def test_progress_is_relayed_and_the_record_returned(fake_worker, tmp_path):
    part = fake_worker(
        "import json, sys\n"
        "job = json.load(sys.stdin)\n"
        "print('chatter', file=sys.stderr)\n"
        "for line in ({'phase': ['building', 'x']}, {'advance': [1, 2, 'bytes']}, {'note': 'n'},\n"
        "             {'done': {'precision': job['chosen']['precision'], 'to': job['directory']}}):\n"
        "    print(json.dumps(line), flush=True)\n"
    )
    progress = Recorder()
    record = run_build(part, model_in(tmp_path), CHOSEN, tmp_path, progress)
    assert record == {"precision": "int8", "to": str(tmp_path)}
    assert progress.heard == [("building", "x"), (1, 2, "bytes"), ("n",)]


def test_errors_keep_their_class(fake_worker, tmp_path):
    part = fake_worker(
        "import json, sys\n"
        "error = {'type': 'UnsupportedModelError', 'what': 'a', 'why': 'b', 'remedy': 'c'}\n"
        "print(json.dumps({'error': error})); sys.exit(1)\n"
    )
    with pytest.raises(UnsupportedModelError) as caught:
        run_build(part, model_in(tmp_path), CHOSEN, tmp_path, Silent())
    assert str(caught.value) == "a: b (c)"


def test_a_killed_worker_is_out_of_memory(fake_worker, tmp_path):
    part = fake_worker("import os, sys\nprint('allocating', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(BuildError, match="memory ran out") as caught:
        run_build(part, model_in(tmp_path), CHOSEN, tmp_path, Silent())
    assert "allocating" in caught.value.why
    assert "int4" in caught.value.remedy


def test_a_crash_shows_its_last_words(fake_worker, tmp_path):
    part = fake_worker("raise RuntimeError('the compiler tripped')\n")
    with pytest.raises(BuildError, match="the build process died") as caught:
        run_build(part, model_in(tmp_path), CHOSEN, tmp_path, Silent())
    assert "exit code 1" in caught.value.why
    assert "the compiler tripped" in caught.value.why


def test_cancelling_kills_the_whole_group(fake_worker, tmp_path):
    pids = tmp_path / "pids"
    part = fake_worker(
        "import json, os, pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "print(json.dumps({'note': 'started'}), flush=True)\n"
        "time.sleep(60)\n"
    )
    cancel = threading.Event()

    class CancelOnNote(Silent):
        def note(self, text: str) -> None:
            cancel.set()

    with pytest.raises(BuildCancelledError):
        run_build(part, model_in(tmp_path), CHOSEN, tmp_path, CancelOnNote(), cancel=cancel)
    for pid in pids.read_text().split():
        wait_until_gone(int(pid))


def test_the_real_worker_reports_a_damaged_model_and_prints_nothing_else(tmp_path, capfd):
    with pytest.raises(DamagedModelError, match="safetensors"):
        run_build(KIND.build, model_in(tmp_path), CHOSEN, tmp_path, Silent())
    assert capfd.readouterr() == ("", "")


def test_the_real_worker_dies_with_its_parent():
    reading, writing = os.pipe()  # held open here, so that the end of stdin is not what ends the worker
    program = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'stoker.kinds.openvino.build.worker', str(os.getpid())])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=reading, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert process_lives(pid)
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(pid)
    os.close(reading)
    os.close(writing)


def test_compiler_versions_name_what_changes_an_engines_bytes():
    assert set(KIND.build.versions()) == {"builder", "openvino", "nncf"}
    assert set(kind_named("torch").build.versions()) == {"builder"}


def test_asking_for_versions_imports_no_compiler():
    program = (
        "import sys; from stoker.kinds.openvino import KIND; KIND.build.versions(); "
        "import stoker.build.worker; sys.exit(any(name in sys.modules for name in ('openvino', 'nncf', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("precision", ["int4_gptq", "int8_sq"])
def test_precisions_that_cannot_hold_experts_are_refused(precision, tmp_path):
    mixture = replace(model_in(tmp_path), architecture=replace(SIZES, experts=8))
    with pytest.raises(UnsupportedModelError, match="mixtures of experts"):
        encoding_for(mixture, replace(CHOSEN, precision=precision))


def test_a_quantised_checkpoint_is_built_in_its_own_precision_only(tmp_path):
    model = model_in(tmp_path, Quantization("gptq", 4, 128, {"group_size": 128, "desc_act": False}))
    for precision in ("int4", "int4_gptq"):
        assert isinstance(encoding_for(model, replace(CHOSEN, precision=precision)), Prequantized)
    for precision in ("int8", "int4_awq", "bf16"):
        with pytest.raises(UnsupportedModelError, match="already quantised"):
            encoding_for(model, replace(CHOSEN, precision=precision))
