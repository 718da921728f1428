"""What a build leaves, and what a start does with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.vllm.conftest import direct_settings
from tests.vllm.test_goldens import generated

from stoker.kinds.vllm.runtime.alone import HostRuntime
from stoker.kinds.vllm.runtime.process import CACHE, CHECKPOINT, SETTINGS

COMPILED = ("*.so", "*.cpp", "*.py")


def compiled(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for pattern in COMPILED for path in folder.rglob(pattern)}


def test_an_engine_is_a_checkpoint_and_what_was_compiled_for_it(built: Path) -> None:
    assert {path.name for path in built.iterdir()} >= {CHECKPOINT, CACHE, SETTINGS, "tokenizer.json", "config.json"}
    assert not (built / "host").exists()
    assert compiled(built / CACHE)
    assert all(path.is_file() for path in built.rglob("*") if not path.is_dir())


def test_an_engine_that_was_pulled_elsewhere_starts_without_compiling(built: Path, tmp_path: Path) -> None:
    """Other folder, other times of files: as a registry's client leaves it."""
    pulled = tmp_path / "another place" / "engine"
    shutil.copytree(built, pulled, copy_function=shutil.copyfile)
    run = tmp_path / "run"
    run.mkdir()
    runtime = HostRuntime(direct_settings(pulled, run))
    try:
        assert len(generated(runtime, [[5, 300, 17]], 8)[0]) == 8
        (cache,) = run.glob("vllm-*/host/cache")
        assert compiled(cache) == compiled(built / CACHE)
        artifacts = [path.name for path in cache.glob("vllm/torch_compile_cache/torch_aot_compile/*")]
        assert len(artifacts) == 1, "the hash over settings and environment differs from the build's"
    finally:
        runtime.close()
