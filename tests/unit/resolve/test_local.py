"""Models of this machine: the demo, directories, and what may be wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import StokerError
from stoker.kinds.known import check_known
from stoker.resolve.resolve import resolve

if TYPE_CHECKING:
    from tests.unit.resolve.conftest import Recorder


Files = dict[str, bytes]
Make = Callable[..., Files]
Write = Callable[..., Path]


def refusal(reference: Path | str, cache: Path, progress: Recorder, **options: Any) -> StokerError:
    with pytest.raises(StokerError) as caught:
        resolve(str(reference), cache, progress, **options)
    return caught.value


def test_demo(tmp_path: Path, progress: Recorder) -> None:
    model = resolve("demo", tmp_path, progress)
    assert (model.served_name, model.reference, model.chat_template) == ("demo", "demo", True)
    assert model.architecture.name == "LlamaForCausalLM"
    assert model.weights.measured
    assert model.directory is not None
    assert all((model.directory / file).is_file() for file in model.files)
    assert len(model.revision) == 64


def test_a_directory(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write(checkpoint() | {"README.md": b"", "adapter_model.safetensors": b"", "pytorch_model.bin": b""})
    model = resolve(str(directory), tmp_path / "cache", progress)
    assert (model.served_name, model.directory) == ("tiny-llama", directory)
    assert model.files == (
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    )
    assert model.weights.parameters == 64 * 16 * 2 + 16
    assert model.weights.bytes_by_dtype == {"BF16": 2 * (64 * 16 * 2 + 16)}
    assert progress.phases == ["resolving"]


def test_a_relative_directory(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(checkpoint()))
    assert resolve(".", tmp_path / "cache", progress).served_name == "tiny-llama"


def test_shards(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write(checkpoint(shards=2) | {"consolidated.safetensors": b"", "extra.safetensors": b""})
    model = resolve(str(directory), tmp_path / "cache", progress)
    assert model.weights.files == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert model.weights.parameters == 64 * 16 * 2 + 16


def test_an_index_left_behind_by_merged_shards(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    index = checkpoint(shards=2)["model.safetensors.index.json"]
    model = resolve(str(write(checkpoint() | {"model.safetensors.index.json": index})), tmp_path / "cache", progress)
    assert model.weights.files == ("model.safetensors",)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_one_changed_byte_is_another_revision(
    file: str, checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory, cache = write(checkpoint()), tmp_path / "cache"
    for path in directory.iterdir():
        os.utime(path, (1e9, 1e9))
    before = resolve(str(directory), cache, progress).revision
    assert resolve(str(directory), cache, progress).revision == before
    data = bytearray((directory / file).read_bytes())
    data[-2] ^= 1 if file.endswith("safetensors") else 0x29  # another white space or letter in the text files
    if file.endswith(".json"):
        data = bytearray((directory / file).read_bytes()[:-1] + b" }")
    (directory / file).write_bytes(data)
    assert resolve(str(directory), cache, progress).revision != before


def test_digests_are_remembered_only_for_unchanged_files(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory, cache = write(checkpoint()), tmp_path / "cache"
    os.utime(directory / "model.safetensors", (1e9, 1e9))
    resolve(str(directory), cache, progress)
    remembered = json.loads((cache / "models" / ".digests.json").read_text())
    assert list(remembered) == [str(directory / "model.safetensors")]  # the others are too young to be trusted
    remembered[str(directory / "model.safetensors")][-1] = "another"
    (cache / "models" / ".digests.json").write_text(json.dumps(remembered))
    told = resolve(str(directory), cache, progress).revision
    os.utime(directory / "model.safetensors", (2e9, 2e9))
    assert resolve(str(directory), cache, progress).revision != told


def test_a_cache_that_cannot_keep_digests_is_noted(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory = write(checkpoint())
    os.utime(directory / "config.json", (1e9, 1e9))
    (tmp_path / "cache").write_text("a file where the cache should be")
    assert resolve(str(directory), tmp_path / "cache", progress).revision
    assert "could not be kept" in progress.notes[0]


def test_planning_needs_only_the_config(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write({"config.json": checkpoint()["config.json"]})
    model = resolve(str(directory), tmp_path / "cache", progress, weights=False)
    assert (model.directory, model.revision, model.weights.measured) == (None, "", False)
    assert model.weights.parameters == 64 * 16 * 2 + 16 + 32 + 16 * (2 * 16 + 2 * 8) + 3 * 16 * 32
    assert not (tmp_path / "cache").exists()


def test_planning_measures_weights_that_are_there(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    model = resolve(str(write(checkpoint(shards=2))), tmp_path / "cache", progress, weights=False)
    assert model.weights.measured
    assert model.weights.parameters == 64 * 16 * 2 + 16


def test_planning_takes_the_size_from_a_fitting_index(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    files = checkpoint(shards=2)
    planned = resolve(str(write({"config.json": files["config.json"]})), tmp_path, progress, weights=False)
    index = json.loads(files["model.safetensors.index.json"])
    index["metadata"]["total_size"] = planned.weights.total_bytes
    directory = write({"model.safetensors.index.json": json.dumps(index).encode()})
    assert resolve(str(directory), tmp_path, progress, weights=False).weights.measured


def test_a_missing_directory_names_its_neighbour(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    error = refusal(write(checkpoint()).with_name("tiny-lama"), tmp_path / "cache", progress)
    assert (error.exit_code, error.code) == (66, "model_not_found")
    assert str(tmp_path / "tiny-llama") in error.remedy


def test_a_file_is_no_model(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write(checkpoint())
    error = refusal(directory / "model.safetensors", tmp_path / "cache", progress)
    assert error.exit_code == 64
    assert str(directory) in error.remedy


def without(files: Files, name: str) -> Files:
    return {file: data for file, data in files.items() if file != name}


DAMAGES: dict[str, tuple[Callable[[Files], Files], int, str]] = {
    "only pickles": (lambda f: {"config.json": f["config.json"], "pytorch_model.bin": b""}, 65, "pytorch_model.bin"),
    "only gguf": (lambda f: {"model.gguf": b""}, 65, "GGUF, which is not served"),
    "nothing": (lambda f: {}, 65, "no safetensors"),
    "no config": (lambda f: without(f, "config.json"), 74, "no config.json"),
    "config not JSON": (lambda f: f | {"config.json": b"{"}, 74, "config.json is damaged"),
    "config a list": (lambda f: f | {"config.json": b"[]"}, 74, "not a JSON object"),
    "truncated": (lambda f: f | {"model.safetensors": f["model.safetensors"][:-100]}, 74, "truncated"),
    "no tokenizer": (lambda f: without(f, "tokenizer.json"), 65, "no tokenizer.json"),
    "tokenizer not JSON": (lambda f: f | {"tokenizer.json": f["tokenizer.json"][:-1]}, 74, "tokenizer.json is damaged"),
    "sentencepiece": (lambda f: f | {"tokenizer.model": f.pop("tokenizer.json")}, 65, "from_pretrained"),
    "duplicate tensor": (lambda f: f | {"more.safetensors": f["model.safetensors"]}, 74, "both hold the tensor"),
    "index not JSON": (lambda f: f | {"model.safetensors.index.json": b"{"}, 74, "index.json is damaged"),
    "index elsewhere": (
        lambda f: f | {"model.safetensors.index.json": b'{"weight_map": {"x": "../x.safetensors"}}'},
        74,
        "weight_map",
    ),
    "index empty": (lambda f: f | {"model.safetensors.index.json": b"{}"}, 74, "weight_map"),
    "index names another tensor": (
        lambda f: f | {"model.safetensors.index.json": b'{"weight_map": {"x": "model.safetensors"}}'},
        74,
        "lacks the tensor 'x'",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(name: str, checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    damage, exit_code, words = DAMAGES[name]
    error = refusal(write(damage(checkpoint())), tmp_path / "cache", progress)
    assert error.exit_code == exit_code
    assert words in str(error)
    assert error.remedy or error.why


def test_a_missing_shard_is_named(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write(checkpoint(shards=3))
    (directory / "model-00002-of-00003.safetensors").unlink()
    error = refusal(directory, tmp_path / "cache", progress)
    assert (error.exit_code, error.code) == (74, "damaged_model")
    assert "model-00002-of-00003.safetensors" in str(error)


@pytest.mark.parametrize("weights", [True, False])
def test_an_unknown_architecture_is_refused_with_the_list(
    weights: bool, checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory = write(checkpoint(architectures=["MambaForCausalLM"], model_type="mamba"))
    error = refusal(directory, tmp_path / "cache", progress, weights=weights, check=check_known)
    assert (error.exit_code, error.code) == (69, "unsupported_model")
    assert "MambaForCausalLM" in str(error)
    assert "LlamaForCausalLM" in str(error)


def test_resolving_refuses_no_architecture_by_itself(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory = write(checkpoint(architectures=["OfTomorrowForCausalLM"], model_type="of_tomorrow"))
    for weights in (False, True):
        model = resolve(str(directory), tmp_path / "cache", progress, weights=weights)
        assert model.architecture.name == "OfTomorrowForCausalLM"


def test_local_models_do_not_import_the_hub_s_library(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from stoker.progress import Silent\n"
        "from stoker.resolve.resolve import resolve\n"
        f"resolve('demo', Path({str(tmp_path)!r}), Silent())\n"
        "sys.exit(any(name in sys.modules for name in ('huggingface_hub', 'numpy', 'tokenizers', 'openvino')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_lora_is_to_be_merged(file, with_config, weights, checkpoint: Make, write: Write, tmp_path, progress) -> None:
    adapter = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}
    files = {"adapter_config.json": json.dumps(adapter).encode(), file: b"x", "tokenizer.json": b"{}"}
    directory = write(files | ({"config.json": checkpoint()["config.json"]} if with_config else {}))
    error = refusal(directory, tmp_path / "cache", progress, weights=weights)
    assert "is an adapter, not a model" in error.what
    assert "org/base" in error.why
    assert f"from_pretrained('{directory}').merge_and_unload().save_pretrained('merged')" in error.remedy


def test_an_adapter_beside_the_merged_weights_is_not_in_the_way(
    checkpoint: Make, write: Write, tmp_path, progress
) -> None:
    directory = write(checkpoint() | {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"})
    assert resolve(str(directory), tmp_path / "cache", progress).weights.measured
