"""Links out of a model's directory are not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import ModelError
from stoker.resolve.resolve import resolve

if TYPE_CHECKING:
    from tests.hub_server import HubServer
    from tests.unit.resolve.conftest import Recorder


Make = Callable[..., dict[str, bytes]]
Write = Callable[..., Path]
NAMES = ("tokenizer.json", "config.json", "chat_template.jinja", "generation_config.json", "model.safetensors")


def leads_out(reference: Path | str, cache: Path, progress: Recorder, **options: Any) -> str:
    with pytest.raises(ModelError, match="is a link out of its directory") as refused:
        resolve(str(reference), cache, progress, **options)
    return str(refused.value)


def moved_out(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file.rename(target)
    file.symlink_to(target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", [True, False])
def test_a_file_that_is_elsewhere(
    name, weights, checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory = write(checkpoint())
    moved_out(directory / name, tmp_path / "secrets" / name)
    assert name in leads_out(directory, tmp_path / "cache", progress, weights=weights)


def test_by_way_of_another_link(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write(checkpoint())
    moved_out(directory / "tokenizer.json", tmp_path / "secret")
    (directory / "tokenizer.json").rename(directory / "real.json")
    (directory / "tokenizer.json").symlink_to("real.json")
    leads_out(directory, tmp_path / "cache", progress)


def test_by_way_of_a_folder(checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder) -> None:
    directory = write(checkpoint())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (directory / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    leads_out(directory, tmp_path / "cache", progress)


def test_a_neighbour_whose_name_begins_alike(
    checkpoint: Make, write: Write, tmp_path: Path, progress: Recorder
) -> None:
    directory = write(checkpoint())
    moved_out(directory / "tokenizer.json", directory.with_name(f"{directory.name}-other") / "tokenizer.json")
    leads_out(directory, tmp_path / "cache", progress)


def test_links_within_and_a_link_to_the_directory_are_fine(checkpoint: Make, write: Write, tmp_path, progress) -> None:
    directory = write(checkpoint())
    moved_out(directory / "tokenizer.json", directory / "files" / "tokenizer.json")
    (tmp_path / "link").symlink_to(directory)
    assert resolve(str(tmp_path / "link"), tmp_path / "cache", progress).revision


def snapshot(root: Path, files: dict[str, bytes]) -> Path:
    """As huggingface_hub keeps it."""
    folder = root / "models--org--x"
    directory = folder / "snapshots" / ("0" * 40)
    directory.mkdir(parents=True)
    (folder / "blobs").mkdir()
    for name, data in files.items():
        (folder / "blobs" / name).write_bytes(data)
        (directory / name).symlink_to(Path("../../blobs") / name)
    return directory


def test_a_snapshot_of_the_hugging_face_cache_is_a_model(checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    assert resolve(str(snapshot(tmp_path, checkpoint())), tmp_path / "cache", progress).revision


@pytest.mark.parametrize("way", ["past the blobs", "blobs that are a link"])
def test_only_its_own_blobs_are(way, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    directory = snapshot(tmp_path, checkpoint())
    blobs = directory.parent.parent / "blobs"
    if way == "past the blobs":
        moved_out(blobs / "tokenizer.json", tmp_path / "secret")
    else:
        moved_out(blobs, tmp_path / "secrets")
    leads_out(directory, tmp_path / "cache", progress)


@pytest.mark.parametrize("offline", [True, False])
def test_the_cache_of_the_hub_too(
    offline, hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository("org/x", checkpoint())
    directory = resolve("org/x", tmp_path, progress).directory
    assert directory is not None
    (tmp_path / "secret").write_text('{"chat_template": "secret"}')
    (directory / "tokenizer_config.json").unlink()
    (directory / "tokenizer_config.json").symlink_to(tmp_path / "secret")
    leads_out("org/x", tmp_path, progress, offline=offline)


def test_what_is_fetched_is_not_for_others_to_read(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    before = os.umask(0)
    try:
        hub.add_repository("org/x", checkpoint())
        resolve("org/x", tmp_path, progress)
    finally:
        os.umask(before)
    blobs = [*(tmp_path / "models" / "models--org--x" / "blobs").iterdir()]
    assert blobs
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o027 == 0 for path in blobs)
