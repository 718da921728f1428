"""Which engines of a store a build may take compiled parts from."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.store.alike import engines_alike
from stoker.store.engine import SCHEMA, Manifest
from stoker.store.manifest import describe_files, write_manifest
from stoker.store.store import Store
from stoker.store.trust import Provenance

GPU = {"gpus": [("NVIDIA H200", (9, 0))]}
WANTED = Manifest(SCHEMA, "m-vllm-bf16-1", "vllm", "m", "1", {}, {"hardware": GPU}, {"vllm": "0.33.0"})


def publish(store: Store, key: str, manifest: Manifest = WANTED) -> Path:
    with store.workspace() as workspace:
        (workspace / "kernel.so").write_bytes(key.encode())
        return store.publish(workspace, replace(manifest, key=key)).directory


def test_the_one_used_last_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = publish(store, "a"), publish(store, "b")
    os.utime(first, (2_000, 2_000))
    os.utime(second, (1_000, 1_000))
    assert engines_alike(Store(tmp_path), WANTED) == (str(first), str(second))


def test_how_many_gpus_share_the_model_is_no_difference(tmp_path: Path) -> None:
    two = publish(Store(tmp_path), "a", replace(WANTED, inputs={"hardware": {"gpus": [*GPU["gpus"], *GPU["gpus"]]}}))
    assert engines_alike(Store(tmp_path), WANTED) == (str(two),)


def test_architectures_of_the_same_letters_differ(tmp_path: Path) -> None:
    one, other = (replace(WANTED, inputs={"hardware": {"architecture": name}}) for name in ("x86_64", "x86_46"))
    publish(Store(tmp_path), "a", one)
    assert engines_alike(Store(tmp_path), other) == ()
    assert len(engines_alike(Store(tmp_path), one)) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(WANTED, kind="torch"),
        replace(WANTED, versions={"vllm": "0.32.0"}),
        replace(WANTED, inputs={"hardware": {"gpus": [("NVIDIA A100", (8, 0))]}}),
        replace(WANTED, inputs={}),
        replace(WANTED, inputs={"hardware": ["NVIDIA H200"]}),
        replace(WANTED, inputs={"hardware": {"gpus": 2}}),
    ],
    ids=["another kind", "another version", "another GPU", "no hardware", "a list", "a number"],
)
def test_others_give_nothing(tmp_path: Path, other: Manifest) -> None:
    publish(Store(tmp_path), "a", other)
    assert engines_alike(Store(tmp_path), WANTED) == ()


def test_one_from_a_remote_gives_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.workspace() as workspace:
        (workspace / "kernel.so").write_bytes(b"theirs")
        complete = replace(WANTED, key="a", files=describe_files(workspace))
        write_manifest(workspace, complete)
        store.adopt(workspace, complete, Provenance("https://example.com/engines"))
    assert [key for key, _ in store.list()] == ["a"]
    assert engines_alike(Store(tmp_path), WANTED) == ()


def test_a_damaged_one_gives_nothing(tmp_path: Path) -> None:
    (publish(Store(tmp_path), "a") / "kernel.so").write_bytes(b"")
    assert engines_alike(Store(tmp_path), WANTED) == ()
