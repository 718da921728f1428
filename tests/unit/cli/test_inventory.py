"""`stoker list`, `rm`, `ps` and `engines rm`, `prune`, on a cache with models and engines."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from stoker import cli
from stoker.cli.rm import chosen_items
from stoker.errors import UsageError
from stoker.store import manifest
from stoker.store.engine import SCHEMA, Manifest
from stoker.store.inventory import inventory
from stoker.store.store import Store

KEY, OTHER = "org-name-openvino-int8-aaaa", "org-name-openvino-int4-bbbb"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A model with two engines, one of another model, and a download that did not finish."""
    store = Store(tmp_path / "cache")
    for key, model in ((KEY, "org/name"), (OTHER, "org/name"), ("demo-openvino-int8-cccc", "demo")):
        _engine(store, key, model)
    blobs = store.cache / "models" / "models--org--name" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "whole").write_bytes(b"x" * 100_000)
    (blobs / "half.incomplete").write_bytes(b"x" * 50_000)
    return store.cache


def _engine(store: Store, key: str, model: str) -> None:
    with store.workspace() as workspace:
        (workspace / "weights.bin").write_bytes(b"x" * 10_000)
        kind, precision = key.split("-")[-3:-1]
        store.publish(workspace, Manifest(SCHEMA, key, kind, model, "r", {"precision": precision}, {}, {}))


def run(*arguments: str, cache: Path) -> int:
    return cli.run([*arguments, "--cache", str(cache)])


def test_models_and_engines_are_listed_together(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(cache).use(KEY)
    try:
        assert run("list", cache=cache) == 0
        shown = capsys.readouterr().out
        assert run("list", "--json", cache=cache) == 0
        items = json.loads(capsys.readouterr().out)
    finally:
        Store(cache).release(KEY)
    rows = [line.split() for line in shown.splitlines()]
    assert rows[0] == ["NAME", "WHAT", "SIZE", "LAST", "USE", "STATE"]
    assert [row[0] for row in rows[1:5]] == ["demo-openvino-int8-cccc", "org/name", OTHER, KEY]
    assert shown.splitlines()[2].endswith("incomplete")
    assert shown.splitlines()[4].endswith("in use")
    assert [item["state"] for item in items] == ["", "incomplete", "", "in use"]
    assert "1 item in use" in shown


def test_a_model_goes_with_its_engines(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rm", "org/name", "--dry-run", cache=cache) == 0
    assert len(inventory(Store(cache))) == 4
    assert run("rm", "org/name", cache=cache) == 0
    assert "3 items deleted" in capsys.readouterr().out
    assert [item.key for item in inventory(Store(cache))] == ["demo-openvino-int8-cccc"]
    assert not list((cache / "models").glob("models--*"))


def test_the_files_of_a_model_go_alone_where_its_engines_are_to_stay(cache: Path) -> None:
    assert run("rm", "org/name", "--keep-engines", cache=cache) == 0
    assert [item.key for item in inventory(Store(cache)) if item.model == "org/name"] == [OTHER, KEY]


def test_nothing_goes_where_one_of_several_is_in_use_or_unknown(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(cache).use(KEY)
    try:
        with pytest.raises(UsageError, match="in use"):
            chosen_items(inventory(Store(cache)), ["demo", "org/name"])
    finally:
        Store(cache).release(KEY)
    assert run("rm", "demo", "org/nam", cache=cache) == 64
    assert "did you mean org/name?" in capsys.readouterr().err
    assert len(inventory(Store(cache))) == 4


def test_prune_deletes_what_verify_said_it_would(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage that keeps the size, which only reading every byte finds."""
    (cache / "engines" / KEY / "weights.bin").write_bytes(b"y" * 10_000)
    assert run("engines", "verify", cache=cache) == 74
    assert "`stoker engines prune` deletes them" in capsys.readouterr().err
    assert run("engines", "prune", cache=cache) == 0
    assert f"{KEY}  " in (text := capsys.readouterr().out)
    assert "1 engine deleted" in text
    assert run("engines", "verify", cache=cache) == 0
    assert [item.key for item in inventory(Store(cache)) if item.key] == ["demo-openvino-int8-cccc", OTHER]


@pytest.mark.parametrize("name", [OTHER, "org/name"])
def test_what_cannot_be_deleted_is_named(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "rename", refuse)
    assert run("rm", name, cache=cache) == 73
    assert f"error: cannot delete {name}: Operation not permitted" in capsys.readouterr().err
    assert len(inventory(Store(cache))) == 4


@pytest.mark.parametrize(
    ("error", "verified", "pruned", "left"),
    [
        (OSError(errno.EIO, "Input/output error"), 74, 0, 0),
        (PermissionError(errno.EACCES, "Permission denied"), 73, 73, 3),
    ],
)
def test_a_disk_that_fails_is_damage_and_a_file_of_another_user_is_none(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, verified: int, pruned: int, left: int
) -> None:
    def fail(_: Path) -> str:
        raise error

    monkeypatch.setattr(manifest, "file_digest", fail)
    assert run("engines", "verify", cache=cache) == verified
    assert run("engines", "prune", cache=cache) == pruned
    assert len(list((cache / "engines").iterdir())) == left


def test_an_engine_goes_by_its_key(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("engines", "rm", OTHER, cache=cache) == 0
    assert run("engines", "rm", "org/name", cache=cache) == 64
    assert not (cache / "engines" / OTHER).exists()


def test_an_empty_cache_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", cache=tmp_path) == 0
    assert "stoker pull MODEL" in capsys.readouterr().out


def test_pull_of_the_demo_prints_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pull", "demo", cache=tmp_path) == 0
    assert (Path(capsys.readouterr().out.strip()) / "config.json").is_file()
