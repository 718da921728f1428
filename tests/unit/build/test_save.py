"""Writing an engine's directory."""

from __future__ import annotations

import resource

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stoker.build.companions import copy_companions
from stoker.errors import StorageError
from stoker.kinds.openvino.build.save import save_graph


def graph() -> ov.Model:
    x = ops.parameter([-1, 512], np.float32, "x")
    weight = ops.constant(np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32))
    return ov.Model([ops.result(ops.matmul(x, weight, False, True))], [x])


def test_weights_are_written_as_they_are(tmp_path):
    size = save_graph(graph(), tmp_path)
    assert (tmp_path / "openvino_model.bin").stat().st_size >= 4 * 512 * 512
    assert size == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_a_full_disk_is_a_storage_error(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            save_graph(graph(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_only_known_files_are_copied(tmp_path):
    source, target = tmp_path / "model", tmp_path / "engine"
    source.mkdir()
    target.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors", "notes.txt"):
        (source / name).write_text(name)
    assert copy_companions(source, target) == ["config.json", "tokenizer.json"]
    assert sorted(file.name for file in target.iterdir()) == ["config.json", "tokenizer.json"]
    assert (target / "tokenizer.json").read_text() == "tokenizer.json"


def test_a_graph_that_was_read_can_be_written_and_read_again(tmp_path):
    x = ops.parameter([-1, 64], np.float32, "x")
    narrow = ops.convert(ops.constant(np.ones((64, 64), np.float16)), "f32")
    model = ov.Model([ops.result(ops.matmul(x, narrow, False, True))], [x])
    for turn in ("first", "second"):
        (tmp_path / turn).mkdir()
        save_graph(model, tmp_path / turn)
        model = ov.Core().read_model(tmp_path / turn / "openvino_model.xml")
        assert (tmp_path / turn / "openvino_model.xml").read_text().count('"decompression"') == 1
