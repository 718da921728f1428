import multiprocessing
import os
from pathlib import Path

import pytest

from stoker.errors import StorageError
from stoker.store.engine import SCHEMA, Manifest
from stoker.store.eviction import clear_remains, evict, stored_engines
from stoker.store.store import Store

SPAWN = multiprocessing.get_context("spawn")
SIZE = 100_000


def publish(store: Store, key: str, used: float) -> None:
    with store.workspace() as workspace:
        (workspace / "weights.bin").write_bytes(os.urandom(SIZE))
        directory = store.publish(workspace, Manifest(SCHEMA, key, "openvino", "demo", "1", {}, {}, {})).directory
    os.utime(directory, (used, used))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for number, key in enumerate(["oldest", "middle", "newest"]):
        publish(store, key, 1000.0 + number)
    return store


def keys(store: Store) -> set[str]:
    return {each.key for each in stored_engines(store)}


def test_what_was_used_longest_ago_goes_first_and_no_more_than_needed(store: Store) -> None:
    size = next(stored_engines(store)).bytes
    assert [each.key for each in evict(store, 2 * size)] == ["oldest"]
    assert keys(store) == {"middle", "newest"}
    assert evict(store, 2 * size) == []


def test_use_counts(store: Store) -> None:
    store.use("oldest")
    store.release("oldest")
    assert [each.key for each in evict(store, 0)] == ["middle", "newest", "oldest"]


def use(cache: Path, ready, done) -> None:
    Store(cache).use("oldest")
    ready.set()
    done.wait(60)


def test_what_any_process_uses_stays_and_what_a_dead_one_used_does_not(store: Store) -> None:
    ready, done = SPAWN.Event(), SPAWN.Event()
    user = SPAWN.Process(target=use, args=(store.cache, ready, done))
    user.start()
    assert ready.wait(60)
    evict(store, 0)
    assert keys(store) == {"oldest"}
    user.kill()
    user.join(60)
    evict(store, 0)
    assert keys(store) == set()
    assert list(store.locks.iterdir()) == []


def test_what_another_node_uses_stays_while_that_gives_signs_of_life(store: Store) -> None:
    mark = store.locks / "oldest.use.0123456789ab.1.1.1"
    mark.touch()
    evict(store, 0)
    assert keys(store) == {"oldest"}
    os.utime(mark, (1, 1))
    evict(store, 0)
    assert keys(store) == set()


def test_use_that_begins_while_it_is_being_deleted_brings_it_back(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(Store, "is_used", lambda self, key: True)
    assert not store.discard("oldest")
    assert "oldest" in keys(store)
    assert list(store.tmp.iterdir()) == []


def test_remains_are_cleared(store: Store) -> None:
    store.quarantine("oldest")
    (store.partial / "middle").mkdir(parents=True)
    (store.partial / "middle" / "weights.bin").write_bytes(bytes(SIZE))
    assert clear_remains(store) >= 2 * SIZE
    assert keys(store) == {"middle", "newest"}
    assert list(store.quarantined.iterdir()) == []


def test_a_model_whose_deletion_was_cut_short_is_deleted(store: Store) -> None:
    grave, empty = store.cache / "models/.deleted-a", store.cache / "models/.deleted-b"
    (grave / "models--org--name/blobs").mkdir(parents=True)
    (grave / "models--org--name/blobs/weights").write_bytes(bytes(SIZE))
    empty.mkdir()
    assert clear_remains(store) >= SIZE
    assert not grave.exists()
    assert empty.is_dir(), "another process is about to move something there"


def test_space_that_others_have_reserved_is_not_free(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Disk(1000))
    with store.lease("a") as first, store.lease("b") as second:
        store.reserve(first, 600)
        with pytest.raises(StorageError, match=r"does not fit.*unreserved"):
            store.reserve(second, 600)
        store.reserve(second, 400)


class _Disk:
    def __init__(self, free: int) -> None:
        self.free = free
