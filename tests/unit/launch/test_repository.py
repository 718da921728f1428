from __future__ import annotations

from pathlib import Path

from stoker.kinds.openvino import TENSORS
from stoker.launch.repository import model_config, write_repository

GOLDEN = Path(__file__).parent / "config.pbtxt"


def test_the_model_config_is_the_golden_one():
    assert model_config(Path('/run/a "b"\\c/engine-settings.json'), 16, TENSORS["text"]) == GOLDEN.read_text()


def test_the_repository_holds_one_model_with_one_version(tmp_path):
    write_repository(tmp_path / "models", tmp_path / "settings.json", 4, TENSORS["text"])
    files = {str(path.relative_to(tmp_path / "models")) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"engine/config.pbtxt", "engine/1/model.py"}
    compile((tmp_path / "models/engine/1/model.py").read_text(), "model.py", "exec")
