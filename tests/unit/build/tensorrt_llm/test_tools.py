"""Finding TensorRT-LLM's tools, wherever a release has them."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from stoker.errors import BuildError
from stoker.kinds import available_kinds
from stoker.kinds.tensorrt_llm import KIND
from stoker.kinds.tensorrt_llm.build.tools import find_tools

IMAGE = runpy.run_path(str(Path(__file__).parents[3] / "fake_tensorrt_llm_tools" / "image.py"))


@pytest.fixture
def image(tmp_path, monkeypatch) -> Path:
    """With nothing on the path but the tools."""
    monkeypatch.setenv("PATH", str(IMAGE["make_tools"](tmp_path)))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return tmp_path


def test_they_are_found_as_the_image_has_them(image):
    tools = find_tools()
    assert tools.build == image / "opt/venv-tritonserver/bin/trtllm-build"
    assert tools.python == Path(sys.executable)
    assert tools.quantize == image / "app/examples/quantization/quantize.py"
    assert tools.convert("llama") == image / "app/examples/models/core/llama/convert_checkpoint.py"
    assert "tensorrt_llm" in available_kinds()


def test_versions_are_those_of_the_tools_interpreter(image):
    assert KIND.build.versions() == {
        "builder": "1", "tensorrt-llm": "1.2.1", "tensorrt": "10.14.1.48", "nvidia-modelopt": "0.37.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("app/examples", "app/tensorrt_llm/examples"),
        ("app/examples", "opt/venv-tritonserver/examples"),
        ("app/examples/models/core/llama", "app/examples/llama"),
        ("app/examples/models/core/llama", "app/examples/models/contrib/llama"),
    ],
)
def test_they_are_found_where_other_releases_have_them(image, before, after):
    (image / after).parent.mkdir(parents=True, exist_ok=True)
    (image / before).rename(image / after)
    assert find_tools().convert("llama").is_file()


def test_an_interpreter_beside_the_command_serves_where_the_first_line_names_none(image):
    command = image / "opt/venv-tritonserver/bin/trtllm-build"
    command.write_text("#!/bin/sh\n")
    (command.parent / "python3").symlink_to(sys.executable)
    assert find_tools().python == command.parent / "python3"


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("opt/venv-tritonserver/bin/trtllm-build", "no trtllm-build on the path"),
        ("app/examples", "a pip installation comes without"),
    ],
)
def test_what_is_missing_is_told_with_the_image_that_has_it(image, gone, why):
    path = image / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert "tensorrt_llm" not in available_kinds()
    assert KIND.build.versions() == {"builder": "1"}
    with pytest.raises(BuildError, match=why) as caught:
        find_tools()
    assert "26.07-trtllm-python-py3" in caught.value.remedy
    with pytest.raises(BuildError, match="TensorRT-LLM 1.2.1 are not installed"):
        KIND.build.package_folders()


def test_a_family_without_its_converter_is_told(image):
    shutil.rmtree(image / "app/examples/models/core/phi")
    with pytest.raises(BuildError, match="converter for phi is missing"):
        find_tools().convert("phi")
