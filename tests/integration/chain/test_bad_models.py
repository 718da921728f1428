"""What `serve` says of models that cannot be served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.waiting import SECONDS

from stoker.resolve.local import DEMO_DIRECTORY


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO_DIRECTORY, tmp_path / "my-model"))


def truncate(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def unknown_rope(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config.pop("rope_parameters", None)
    config["rope_scaling"] = {"rope_type": "spiral", "factor": 2.0}
    (model / "config.json").write_text(json.dumps(config))


def unknown_architecture(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["architectures"] = ["MammothForCausalLM"]
    (model / "config.json").write_text(json.dumps(config))


def only_pickles(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (truncate, 74, "model.safetensors"),
        (lambda model: (model / "tokenizer.json").unlink(), 65, "tokenizer.json"),
        (lambda model: (model / "config.json").write_text("{"), 74, "config.json"),
        (unknown_rope, 69, "spiral"),
        (unknown_architecture, 69, "MammothForCausalLM"),
        (only_pickles, 65, "safetensors"),
    ],
)
def test_each_fault_has_its_own_error(model: Path, start, spoil: Callable, code: int, said: str) -> None:
    spoil(model)
    server = start(str(model))
    assert server.process.wait(SECONDS) == code
    error = server.output[server.output.index("error: ") :]
    assert said in error
    assert "hint: " in error
    assert "Traceback" not in server.output


def test_a_changed_byte_in_the_model_is_another_engine(model: Path, start, cache: Path) -> None:
    first = start(str(model))
    first.wait_ready()
    engines = {path.name for path in (cache / "engines").iterdir()}
    assert first.stop() == 0
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    second = start(str(model))
    second.wait_ready()
    new = {path.name for path in (cache / "engines").iterdir()} - engines
    assert len(new) == 1
    assert new.pop().startswith("my-model-openvino-int8-")


def test_a_damaged_engine_is_built_again(start, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = start("demo", cache=cache)
    first.wait_ready()
    first.stop()
    (engine,) = (cache / "engines").iterdir()
    graph = engine / "openvino_model.bin"
    graph.write_bytes(graph.read_bytes()[:-1])
    second = start("demo", cache=cache)
    second.wait_ready()
    assert "openvino_model.bin has" in second.output
    assert "is damaged" in second.output
    assert "it was moved to" in second.output
