"""What FlashInfer compiled during a build, as a package that its next start finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.kinds.vllm.build.compiled import take_kernels
from stoker.kinds.vllm.build.worker import keep_caches
from stoker.kinds.vllm.runtime.kernels import kernel_path, pack_kernels
from stoker.kinds.vllm.runtime.process import CACHE, FLASHINFER, KERNELS
from stoker.store.engine import SCHEMA, Manifest
from stoker.store.manifest import describe_files, write_manifest

OPS = ".cache/flashinfer/0.6.14/90a/cached_ops"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A host's, after FlashInfer compiled one kernel."""
    folder = tmp_path / "made" / FLASHINFER / OPS / "sampling"
    folder.mkdir(parents=True)
    for name in ("sampling.so", "build.ninja", "csrc_sampling.cuda.o"):
        (folder / name).write_text(name)
    return tmp_path / "made"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An environment's, with the FlashInfer that compiled it."""
    folder = tmp_path / "site-packages"
    (folder / "flashinfer_python-0.6.14.dist-info").mkdir(parents=True)
    return folder


def test_what_was_compiled_is_a_package_wherever_the_engine_is(cache: Path, packages: Path, tmp_path: Path) -> None:
    keep_caches(cache, tmp_path / "kept")
    moved = (tmp_path / "kept").rename(tmp_path / "elsewhere")
    (site,) = kernel_path(moved / KERNELS, [str(packages)])
    program = "import flashinfer_jit_cache as ours; print(ours.__version__, ours.get_jit_cache_dir())"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    version, folder = answer.stdout.split()
    assert version == "0.6.14"
    assert (Path(folder) / "sampling" / "sampling.so").read_text() == "sampling.so"
    assert not list(moved.rglob("cached_ops"))


def test_no_other_flashinfer_gets_them(cache: Path, packages: Path) -> None:
    pack_kernels(cache / FLASHINFER, cache / KERNELS)
    (packages / "flashinfer_python-0.6.14.dist-info").rename(packages / "flashinfer_python-0.6.15.dist-info")
    assert kernel_path(cache / KERNELS, [str(packages)]) == ()


def test_an_environment_with_all_kernels_keeps_its_own(cache: Path, packages: Path) -> None:
    pack_kernels(cache / FLASHINFER, cache / KERNELS)
    (packages / "flashinfer_jit_cache").mkdir()
    assert kernel_path(cache / KERNELS, [str(packages)]) == ()


def test_nothing_compiled_leaves_no_package(tmp_path: Path, packages: Path) -> None:
    (tmp_path / FLASHINFER / OPS).mkdir(parents=True)
    pack_kernels(tmp_path / FLASHINFER, tmp_path / KERNELS)
    assert not (tmp_path / KERNELS).exists()
    assert kernel_path(tmp_path / KERNELS, [str(packages)]) == ()


def test_kernels_of_two_architectures_stay_where_they_are(cache: Path) -> None:
    other = cache / FLASHINFER / OPS.replace("90a", "80") / "sampling"
    other.mkdir(parents=True)
    (other / "sampling.so").write_text("other")
    pack_kernels(cache / FLASHINFER, cache / KERNELS)
    assert not (cache / KERNELS).exists()
    assert (other / "sampling.so").exists()


@pytest.fixture
def other(cache: Path, tmp_path: Path) -> Path:
    """An engine of the store that has the kernel."""
    engine = tmp_path / "engines" / "other"
    engine.mkdir(parents=True)
    keep_caches(cache, engine / CACHE)
    manifest = Manifest(SCHEMA, "other", "vllm", "m", "1", {}, {}, {}, files=describe_files(engine))
    write_manifest(engine, manifest)
    return engine


def test_another_engine_of_the_store_spares_a_build_its_compiling(other: Path, packages: Path, tmp_path: Path) -> None:
    made = tmp_path / "next"
    take_kernels([tmp_path / "gone", other], made / KERNELS)
    assert kernel_path(made / KERNELS, [str(packages)]) != ()
    more = made / FLASHINFER / OPS / "norm"  # which the other did not need
    more.mkdir(parents=True)
    (more / "norm.so").write_text("norm.so")
    keep_caches(made, tmp_path / "kept")
    kept = tmp_path / "kept" / KERNELS / "flashinfer_jit_cache"
    assert sorted(path.name for path in kept.rglob("*.so")) == ["norm.so", "sampling.so"]


def test_a_damaged_kernel_is_compiled_anew(other: Path, tmp_path: Path) -> None:
    (library,) = other.rglob("sampling.so")
    library.write_text("sampling.sO")
    take_kernels([other], tmp_path / "next" / KERNELS)
    assert not (tmp_path / "next" / KERNELS).exists()


def test_an_engine_without_kernels_gives_none(tmp_path: Path) -> None:
    engine = tmp_path / "other"
    engine.mkdir()
    write_manifest(engine, Manifest(SCHEMA, "other", "vllm", "m", "1", {}, {}, {}))
    take_kernels([engine], tmp_path / "next" / KERNELS)
    assert not (tmp_path / "next").exists()
