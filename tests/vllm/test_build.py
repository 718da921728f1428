"""What a build leaves, and what a start does with it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from tests.loading import load
from tests.vllm.conftest import INTEGRATION, direct_settings
from tests.vllm.test_goldens import generated

from stoker.kinds.vllm.runtime.alone import HostRuntime
from stoker.kinds.vllm.runtime.process import CACHE, CHECKPOINT, SETTINGS
from stoker.progress import Silent
from stoker.store.engine import SCHEMA, Manifest
from stoker.store.key import digest_of
from stoker.store.policy import StorePolicy
from stoker.store.remotes.fetch import fetch_from_remotes, push
from stoker.store.store import Store

remotes = load("store_remotes", INTEGRATION / "store" / "conftest.py")
registry, credentials, log_in = remotes.registry, remotes.credentials, remotes.log_in

COMPILED = ("*.so", "*.cpp", "*.py")


def compiled(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for pattern in COMPILED for path in folder.rglob(pattern)}


def test_an_engine_is_a_checkpoint_and_what_was_compiled_for_it(built: Path) -> None:
    assert {path.name for path in built.iterdir()} >= {CHECKPOINT, CACHE, SETTINGS, "tokenizer.json", "config.json"}
    assert not (built / "host").exists()
    assert compiled(built / CACHE)
    assert all(path.is_file() for path in built.rglob("*") if not path.is_dir())


def test_an_engine_from_a_registry_starts_without_compiling(
    built: Path, registry: Any, log_in: Any, tmp_path: Path
) -> None:
    """Pushed to a real registry and pulled into another store: other folder, other times of files."""
    log_in(registry.port)
    pulled = through_registry(built, registry.address(), tmp_path)
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


def through_registry(built: Path, address: str, folder: Path) -> Path:
    """The directory of the engine as another machine has it."""
    inputs = {"name": "demo"}
    manifest = Manifest(SCHEMA, f"demo-vllm-bf16-{digest_of(inputs)}", "vllm", "demo", "1", {}, inputs, {})
    store, elsewhere = Store(folder / "a store"), Store(folder / "another store")
    with store.workspace() as workspace:
        shutil.copytree(built, workspace, dirs_exist_ok=True)
        engine = store.publish(workspace, manifest)
    push(engine, address, StorePolicy(), Silent())
    with elsewhere.lease(manifest.key) as lease:
        policy = StorePolicy((address,))
        pulled = fetch_from_remotes(elsewhere, manifest.key, lease, policy, Silent(), threading.Event())
    assert pulled is not None
    return pulled.directory
