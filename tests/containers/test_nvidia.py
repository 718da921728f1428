"""The NVIDIA image's steps on a stand-in for its base (nvidia_base): not its engines, which need a GPU.

Takes a minute or two, so only where STOKER_TEST_NVIDIA_IMAGE is set: `make image-test-nvidia`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.containers.engine import ENGINE, call

ROOT = Path(__file__).parents[2]
STAND_IN = "stoker-nvidia-base:test"
pytestmark = pytest.mark.skipif(not os.environ.get("STOKER_TEST_NVIDIA_IMAGE"), reason="run by make image-test-nvidia")


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    build("tests/containers/nvidia_base", STAND_IN, os.environ.get("BASE", ""))
    build("images/nvidia", "stoker-nvidia:test", f"localhost/{STAND_IN}" if ENGINE == "podman" else STAND_IN)
    yield "stoker-nvidia:test"
    call(ENGINE, "rmi", "stoker-nvidia:test", STAND_IN)


def build(folder: str, tag: str, base: str) -> None:
    environment = {**os.environ, "BASE": base, "CONTAINER_ENGINE": ENGINE}
    subprocess.run([ROOT / "images/build", folder, "--tag", tag], cwd=ROOT, env=environment, check=True)


def in_image(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    return call(ENGINE, "run", "--rm", "--network=host", f"--entrypoint={command[0]}", image, *command[1:])


def test_stoker_sees_its_own_packages_first_and_tensorrt_llm_behind_them(image: str) -> None:
    script = (
        "import huggingface_hub as h, importlib.util as u; print(h.__version__, u.find_spec('tensorrt_llm').origin)"
    )
    version, origin = in_image(image, "/opt/stoker/bin/python", "-c", script).stdout.split()
    assert int(version.split(".")[0]) >= 1
    assert origin.startswith("/opt/venv-tritonserver/")


def test_what_imports_tensorrt_llm_sees_the_bases_packages_first(image: str) -> None:
    """The stand-in refuses to be imported with a newer huggingface_hub, as transformers does."""
    refused = in_image(image, "/opt/stoker/bin/python", "-c", "import tensorrt_llm")
    assert "AssertionError" in refused.stderr
    script = """
import json, os, subprocess, sys
from stoker.launch.repository import _module_path
from stoker.kinds.tensorrt_llm_pytorch.runtime.engine import gpu_environment
wanted = "import tensorrt_llm, stoker"
child = subprocess.run([sys.executable, "-c", wanted], env={**os.environ, **gpu_environment(())})
stub = f"import sys; sys.path[:0] = {_module_path()!r}; {wanted}"
print(json.dumps([child.returncode, subprocess.run([sys.executable, "-I", "-S", "-c", stub]).returncode]))
"""
    answer = in_image(image, "/opt/stoker/bin/python", "-c", script)
    assert json.loads(answer.stdout) == [0, 0], answer.stderr


def test_the_known_fault_is_mended_and_nothing_else_was_changed(image: str) -> None:
    freeze = ("/opt/venv-tritonserver/bin/python", "-m", "pip", "freeze")
    before, after = (set(in_image(name, *freeze).stdout.split()) for name in (STAND_IN, image))
    assert before - after == {"openai==1.107.3"}
    assert after - before == {"openai==1.109.1"}


def test_the_command_and_its_user_are_those_of_the_cpu_image(image: str) -> None:
    config = json.loads(call(ENGINE, "image", "inspect", image).stdout)[0]["Config"]
    assert (config["Entrypoint"], config["User"]) == (["stoker"], "1000:0")
    plan = call(ENGINE, "run", "--rm", "--network=host", image, "plan", "demo", "--machine", "1xH100-80GB", "--json")
    assert json.loads(plan.stdout)["chosen"]["engine"] == "tensorrt_llm", plan.stderr
