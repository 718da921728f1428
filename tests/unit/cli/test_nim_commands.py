"""NVIDIA NIM's commands, on the demo model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import stoker.resolve
from stoker import cli
from stoker.errors import DamagedModelError
from stoker.progress import Silent
from stoker.resolve.model_copy import copy_model
from stoker.resolve.resolve import resolve

DEMO = Path(stoker.resolve.__file__).parent / "demo"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIM_CACHE_PATH", str(tmp_path / "cache"))


@pytest.mark.slow
def test_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list-model-profiles", "demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "SYSTEM INFO"
    runnable = lines[
        lines.index("- Compatible with system and runnable:") + 1 : lines.index("- Incompatible with system:")
    ]
    assert sum("selected" in line for line in runnable) == 1
    assert all(" [requires >=" in line and "-tp1-pp1)" in line for line in runnable)
    assert "selected" in runnable[0]
    assert all(": " in line for line in lines[lines.index("- Incompatible with system:") + 1 :])


@pytest.mark.slow
def test_profiles_as_json_are_those_that_can_be_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["nim_list_model_profiles", "--json", "--tensor-parallel", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == "demo"
    by_name = {each["profile"]: each for each in document["profiles"]}
    selected = [name for name, each in by_name.items() if each.get("selected")]
    assert len(selected) == 1
    for name in [name for name, each in by_name.items() if each["compatible"]][:3]:
        assert cli.run(["plan", "demo", "--profile", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["chosen"]["profile"] == name


def test_a_machine_that_serves_nothing_is_told_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of a job which fills a cache: it has no GPU, and its image engines for GPUs alone."""
    monkeypatch.setattr("stoker.chain.available_kinds", frozenset)
    assert cli.run(["list-model-profiles", "demo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["profiles"]
    assert found
    assert not any(each["compatible"] for each in found)
    assert all(each["why"] for each in found)


def test_a_model_is_downloaded_and_named_by_its_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "model-store"
    manifest = store / "model_manifest.json"
    command = ["download-to-cache", "--model-uri", f"local://{DEMO}", "--manifest-file", str(manifest)]
    assert cli.run(command) == 0
    assert json.loads(manifest.read_text())["model"] == str(DEMO)
    assert capsys.readouterr().out == f"{DEMO}\n"
    assert cli.run(["list-model-profiles", "-m", str(manifest), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "demo"
    assert resolve(str(store), tmp_path, Silent()).directory == DEMO  # NIM_MODEL_NAME=/model-store
    manifest.write_text("{}")
    with pytest.raises(DamagedModelError):
        resolve(str(store), tmp_path, Silent())


def test_a_store_is_a_plain_directory_that_can_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "model-store"
    store.mkdir()
    (store / "config.json").write_text("{ half a")
    (store / "other").write_text("mine")
    command = ["create-model-store", "--model-repo", str(DEMO), "--model-store", str(store)]
    assert cli.run(command) == 0
    assert cli.run(command) == 0
    model = resolve(str(store), tmp_path, Silent())
    assert model.revision == resolve("demo", tmp_path, Silent()).revision
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in store.iterdir())
    assert (store / "other").read_text() == "mine"
    assert cli.run(["plan", str(store), "--json"]) == 0


def test_the_caches_own_files_are_not_copied(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "models" / "kept"
    model = resolve("demo", tmp_path, Silent())
    copy_model(model, kept, tmp_path / "cache")
    linked = resolve(str(kept), tmp_path, Silent())
    copy_model(linked, tmp_path / "store", tmp_path / "cache")
    assert (tmp_path / "store" / "model.safetensors").samefile(kept / "model.safetensors")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["nim-serve-ray", "--head", "--port", "6379"], "does not know how many nodes there are"),
        (["nim-serve-ray", "--head-address", "leader:6379"], "does not know how many nodes there are"),
        (["nim-serve-ray"], "needs --head or --head-address"),
        (["download-to-cache", "--lora"], "--lora is not supported"),
        (["download-to-cache", "--model-uri", "demo", "--all"], "--all and --model-uri contradict each other"),
        (["download-to-cache", "--model-uri", "ngc://nim/meta/x:1"], "ngc:// is not one of the places"),
        (["download-to-cache", "--profiles", "nothing"], "unknown profile 'nothing'"),
        (["create-model-store", "--model-repo", "demo"], "needs --model-store"),
        (["list-model-profiles", "-m", "/nowhere/model_manifest.json"], "there is no file"),
    ],
)
def test_what_cannot_be_done_is_told(command: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(command) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "environ", "given"),
    [
        (["--head", "--port", "6379", "demo"], {"LWS_GROUP_SIZE": "2"}, ["--node-rank", "0", "demo"]),
        (["--head-address", "ns-0.ns:6379"], {"NIM_NUM_COMPUTE_NODES": "2"}, ["--leader", "ns-0.ns"]),
        (["--head-address", "[fd00::1]:6379"], {"STOKER_NODES": "2"}, ["--leader", "fd00::1"]),
    ],
)
def test_rays_arguments_become_those_of_a_server_on_several_nodes(
    arguments: list[str], environ: dict[str, str], given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    asked: list[list[str]] = []

    def serve(rest: Sequence[str]) -> int:
        asked.append(list(rest))
        return 0

    monkeypatch.setattr("stoker.cli.serve.run", serve)
    assert cli.run(["nim-serve-ray", *arguments]) == 0
    assert asked == [given]
