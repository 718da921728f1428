import errno
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.errors import CacheError, StorageError
from stoker.store.engine import SCHEMA, EngineFile, Manifest
from stoker.store.manifest import UnusableEngineError, check_digests, write_manifest
from stoker.store.store import Store


def manifest(key: str = "demo-openvino-int8-1") -> Manifest:
    return Manifest(SCHEMA, key, "openvino", "demo", "1", {"precision": "int8"}, {}, {})


def publish(store: Store, key: str = "demo-openvino-int8-1") -> Path:
    with store.workspace() as workspace:
        (workspace / "openvino_model.bin").write_bytes(b"weights")
        return store.publish(workspace, manifest(key)).directory


def test_a_published_engine_is_found_again_with_its_files_listed(tmp_path: Path) -> None:
    publish(Store(tmp_path))
    engine = Store(tmp_path).find("demo-openvino-int8-1")
    assert engine is not None
    assert [(file.path, file.size) for file in engine.manifest.files] == [("openvino_model.bin", 7)]
    check_digests(engine.directory, engine.manifest)


def test_an_unknown_key_is_not_found(tmp_path: Path) -> None:
    assert Store(tmp_path).find("demo-openvino-int8-1") is None


def test_a_workspace_that_was_not_published_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyError), store.workspace() as workspace:
        (workspace / "half").write_bytes(b"x")
        raise KeyError
    assert list((tmp_path / "tmp").iterdir()) == []
    assert store.list() == ()


def die_while_building(cache: Path) -> None:
    with Store(cache).workspace() as workspace:
        (workspace / "half").write_bytes(b"x")
        os._exit(9)


def test_what_a_killed_build_leaves_is_no_engine_and_is_swept_by_the_next_build(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=die_while_building, args=(tmp_path,))
    child.start()
    child.join(60)
    leftovers = list((tmp_path / "tmp").iterdir())
    assert len(leftovers) == 1
    assert Store(tmp_path).list() == ()
    publish(Store(tmp_path))
    assert not leftovers[0].exists()


def test_sweeping_spares_a_build_that_is_under_way(tmp_path: Path) -> None:
    with Store(tmp_path).workspace() as first, Store(tmp_path).workspace() as second:
        assert first.is_dir()
        assert second.is_dir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: (d / "openvino_model.bin").write_bytes(b"weight"), "has 6 bytes instead of 7"),
        (lambda d: (d / "openvino_model.bin").unlink(), "openvino_model.bin is missing"),
        (lambda d: (d / "engine.json").unlink(), "has no engine.json"),
        (lambda d: (d / "engine.json").write_text("{"), "cannot be read"),
        (lambda d: (d / "engine.json").write_text('{"schema": 999}'), "schema 999"),
    ],
)
def test_a_damaged_engine_is_named_and_can_be_put_aside(tmp_path: Path, damage, said) -> None:
    store = Store(tmp_path)
    damage(publish(store))
    with pytest.raises(UnusableEngineError, match=said):
        store.find("demo-openvino-int8-1")
    ((key, fault),) = store.list()
    assert isinstance(fault, UnusableEngineError)
    kept = store.quarantine(key)
    assert store.find(key) is None
    assert kept.is_dir()


def test_a_changed_byte_is_found_by_the_digests(tmp_path: Path) -> None:
    store = Store(tmp_path)
    directory = publish(store)
    (directory / "openvino_model.bin").write_bytes(b"weighty")
    engine = store.find("demo-openvino-int8-1")
    assert engine is not None
    with pytest.raises(UnusableEngineError, match="openvino_model.bin is not the file that was built"):
        check_digests(engine.directory, engine.manifest)


def test_the_second_of_two_builders_takes_the_first_ones_engine(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = publish(store)
    before = (first / "engine.json").stat().st_mtime_ns
    assert publish(store) == first
    assert (first / "engine.json").stat().st_mtime_ns == before
    assert list((tmp_path / "tmp").iterdir()) == []


def test_another_engines_manifest_is_not_taken(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(store, "demo-openvino-int8-2").rename(tmp_path / "engines" / "demo-openvino-int8-1")
    with pytest.raises(UnusableEngineError, match="is that of demo-openvino-int8-2"):
        store.find("demo-openvino-int8-1")


def test_a_manifest_that_points_outside_its_directory_is_refused(tmp_path: Path) -> None:
    directory = publish(Store(tmp_path))
    outside = replace(manifest(), files=(EngineFile("../../secret", 1, "0" * 64),))
    write_manifest(directory, outside)
    with pytest.raises(UnusableEngineError, match="names the file"):
        Store(tmp_path).find(directory.name)


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(CacheError, match="cannot write to the cache directory"):
        Store(in_the_way / "cache")


def test_a_full_disk_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full"), Store(tmp_path).workspace():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
