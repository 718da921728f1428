"""Models of the hub, against a hub in this process."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import (
    CacheError,
    DamagedModelError,
    HubUnreachableError,
    ModelError,
    ModelGatedError,
    ModelNotFoundError,
    NoSafetensorsError,
    StokerError,
    StorageError,
    UnsupportedModelError,
)
from stoker.kinds.known import check_known
from stoker.resolve.hub_cache import RepositoryCache
from stoker.resolve.resolve import resolve

if TYPE_CHECKING:
    from tests.hub_server import HubServer
    from tests.unit.resolve.conftest import Recorder


Make = Callable[..., dict[str, bytes]]
NAME = "org/tiny-llama"


def refusal(
    kind: type[StokerError], cache: Path, progress: Recorder, reference: str = NAME, **options: Any
) -> StokerError:
    with pytest.raises(kind) as caught:
        resolve(reference, cache, progress, **options)
    return caught.value


def content_requests(hub: HubServer) -> int:
    return int(hub.count("GET", "/resolve/"))


def test_fetches_what_is_needed_and_pins_the_commit(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    files = checkpoint()
    extras = {"README.md": b"#", "pytorch_model.bin": b"x", "consolidated.safetensors": b"x", "tokenizer.model": b"x"}
    commit = hub.add_repository(NAME, files | extras)
    model = resolve(f"hf://{NAME}", tmp_path, progress)
    assert (model.served_name, model.revision, model.chat_template) == (NAME, commit, True)
    assert model.directory is not None
    assert {path.name: path.read_bytes() for path in model.directory.iterdir()} == files
    assert model.files == tuple(sorted(files))
    assert model.weights.parameters == 64 * 16 * 2 + 16
    assert hub.content_bytes == sum(map(len, files.values()))
    assert progress.phases == ["resolving", "downloading"]
    assert progress.states[-1] == (len(files["model.safetensors"]),) * 2


def test_templates_of_other_names_are_fetched_and_kept(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    named = {"additional_chat_templates/tool_use.jinja": b"{{ tools }}"}
    files = checkpoint() | named
    passed_over = {"additional_chat_templates/notes.txt": b"x", "other/tool_use.jinja": b"x"}
    hub.add_repository(NAME, files | passed_over)
    for _ in range(2):  # the second time from the cache
        model = resolve(f"hf://{NAME}", tmp_path, progress)
        assert model.files == tuple(sorted(files))
        assert model.directory is not None
        assert all((model.directory / name).read_bytes() == content for name, content in named.items())


def test_the_cache_has_hugging_face_s_layout(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    from huggingface_hub import snapshot_download

    hub.add_repository(NAME, checkpoint(shards=2))
    model = resolve(NAME, tmp_path, progress)
    assert snapshot_download(NAME, cache_dir=tmp_path / "models", local_files_only=True) == str(model.directory)


def test_files_that_hugging_face_fetched_are_used(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    from huggingface_hub import snapshot_download

    hub.add_repository(NAME, checkpoint(shards=2))
    directory = snapshot_download(NAME, cache_dir=tmp_path / "models", endpoint=hub.url, tqdm_class=None)
    served = hub.content_bytes
    assert str(resolve(NAME, tmp_path, progress).directory) == directory
    assert hub.content_bytes == served


def test_a_second_time_only_the_commit_is_asked_for(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository(NAME, checkpoint(shards=3))
    first = resolve(NAME, tmp_path, progress)
    hub.requests.clear()
    assert resolve(NAME, tmp_path, progress) == first
    assert [request.path.split("?")[0] for request in hub.requests] == [f"/api/models/{NAME}/revision/main"]
    assert progress.phases == ["resolving", "downloading", "resolving"]


def test_a_moved_branch_is_followed_and_a_pinned_commit_is_not(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    old = hub.add_repository(NAME, checkpoint())
    resolve(NAME, tmp_path, progress)
    new = hub.add_repository(NAME, checkpoint())
    assert resolve(NAME, tmp_path, progress).revision == new
    hub.requests.clear()
    assert resolve(f"{NAME}@{old}", tmp_path, progress).revision == old
    assert hub.requests == []


def test_a_tag(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    commit = hub.add_repository(NAME, checkpoint(), revision="refs/pr/1")
    assert resolve(f"{NAME}@refs/pr/1", tmp_path, progress).revision == commit


def test_a_cut_connection_is_resumed(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    files = checkpoint(padding=400_000)
    hub.add_repository(NAME, files)
    small = sum(len(data) for name, data in files.items() if name != "model.safetensors")
    hub.fail_after(small + 500_000)
    error = refusal(HubUnreachableError, tmp_path, progress)
    assert error.exit_code == 75
    hub.recover()
    served = hub.content_bytes
    model = resolve(NAME, tmp_path, progress)
    assert model.directory is not None
    assert (model.directory / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert hub.content_bytes - served < len(files["model.safetensors"]) - 400_000
    assert progress.states[-1] == (len(files["model.safetensors"]),) * 2


def test_a_mirror_that_ignores_ranges(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    files = checkpoint(padding=100_000)
    hub.add_repository(NAME, files)
    hub.ignore_ranges = True
    hub.fail_after(100_000)
    refusal(HubUnreachableError, tmp_path, progress)
    hub.recover()
    assert resolve(NAME, tmp_path, progress, weights=False).weights.measured
    assert resolve(NAME, tmp_path, progress).weights.measured


def test_a_mirror_that_lists_names_only(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    hub.add_repository(NAME, checkpoint() | {"README.md": b""})
    hub.names_only = True
    model = resolve(NAME, tmp_path, progress)
    assert resolve(NAME, tmp_path, progress, offline=True) == model


def test_shards_arrive_in_parallel(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    files = checkpoint(shards=3)
    hub.add_repository(NAME, files)
    hub.meet("/cdn/", 3)
    model = resolve(NAME, tmp_path, progress)
    assert hub.met
    assert len(model.weights.files) == 3


def test_another_process_that_downloads_is_waited_for(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = checkpoint()
    hub.add_repository(NAME, files)
    monkeypatch.setattr("stoker.resolve.download._LOCK_POLL_SECONDS", 0.01)
    etag = hashlib.sha256(files["model.safetensors"]).hexdigest()
    noted = threading.Event()
    monkeypatch.setattr(progress, "note", lambda text: noted.set())
    with ThreadPoolExecutor(1) as pool:
        with RepositoryCache(tmp_path / "models", NAME).locked(etag):
            model = pool.submit(resolve, NAME, tmp_path, progress)
            assert noted.wait(20)
            assert hub.count("GET", "/cdn/") == 0
        assert model.result(20).weights.measured
    assert hub.count("GET", "/cdn/") == 1


def test_files_of_the_same_contents_share_a_blob(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository(NAME, checkpoint() | {"added_tokens.json": b"{}", "special_tokens_map.json": b"{}"})
    model = resolve(NAME, tmp_path, progress)
    assert model.directory is not None
    assert (model.directory / "added_tokens.json").samefile(model.directory / "special_tokens_map.json")
    assert progress.notes == []


def test_a_file_that_arrives_damaged_is_fetched_anew(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository(NAME, checkpoint())
    hub.corrupt("model.safetensors")
    assert refusal(DamagedModelError, tmp_path, progress).exit_code == 74
    hub.heal()
    assert resolve(NAME, tmp_path, progress).weights.measured


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("offline", [True, False])
def test_a_changed_byte_in_the_cache_is_found(
    file: str, offline: bool, hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    files = checkpoint()
    hub.add_repository(NAME, files)
    model = resolve(NAME, tmp_path, progress)
    assert model.directory is not None
    blob = (model.directory / file).resolve()
    blob.write_bytes(files[file][:-1] + bytes([files[file][-1] ^ 1]))
    error = refusal(DamagedModelError, tmp_path, progress, offline=offline)
    assert file in error.what
    assert f"delete {blob}" in error.remedy
    blob.unlink()
    refusal(ModelNotFoundError, tmp_path, progress, offline=True)
    pinned = f"{NAME}@{model.revision}"
    assert resolve(pinned, tmp_path, progress) == replace(model, reference=pinned)


def test_offline_makes_no_connection(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repository(NAME, checkpoint())
    model = resolve(NAME, tmp_path, progress)
    hub.requests.clear()
    assert resolve(NAME, tmp_path, progress, offline=True) == model
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve(NAME, tmp_path, progress) == model
    assert resolve(NAME, tmp_path, progress, weights=False).weights == model.weights
    assert refusal(ModelNotFoundError, tmp_path, progress, "org/other").exit_code == 66
    assert hub.requests == []


def test_offline_does_not_take_a_half_fetched_model(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository(NAME, checkpoint())
    resolve(NAME, tmp_path, progress, weights=False)
    refusal(ModelNotFoundError, tmp_path, progress, offline=True)
    assert resolve(NAME, tmp_path, progress, offline=True, weights=False).weights.parameters


def test_an_unreachable_hub_gives_way_to_the_cache(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repository(NAME, checkpoint())
    model = resolve(NAME, tmp_path, progress)
    hub.status = 503
    assert resolve(NAME, tmp_path, progress) == model
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert resolve(NAME, tmp_path, progress) == model
    assert len(progress.notes) == 2
    assert all("using the cached" in note for note in progress.notes)


def test_a_newer_commit_that_cannot_be_fetched_gives_way_to_the_older(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository(NAME, checkpoint())
    model = resolve(NAME, tmp_path, progress)
    hub.add_repository(NAME, checkpoint())
    resolve(NAME, tmp_path, progress, weights=False)
    hub.fail_after(0)
    assert resolve(NAME, tmp_path, progress) == model
    assert resolve(NAME, tmp_path, progress, offline=True) == model
    assert model.revision[:12] in progress.notes[0]


def test_no_network(tmp_path: Path, progress: Recorder, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    error = refusal(HubUnreachableError, tmp_path, progress)
    assert (error.exit_code, error.code) == (75, "hub_unreachable")
    assert "http://127.0.0.1:1" in error.what


@pytest.mark.parametrize(
    ("status", "kind"), [(500, HubUnreachableError), (429, HubUnreachableError), (403, ModelGatedError)]
)
def test_status_of_the_hub(
    status: int, kind: type[StokerError], hub: HubServer, tmp_path: Path, progress: Recorder
) -> None:
    hub.status = status
    refusal(kind, tmp_path, progress)


def test_missing_repository(hub: HubServer, tmp_path: Path, progress: Recorder) -> None:
    error = refusal(ModelNotFoundError, tmp_path, progress)
    assert (error.exit_code, error.code) == (66, "model_not_found")
    assert "HF_TOKEN" in error.remedy


def test_missing_revision(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    hub.add_repository(NAME, checkpoint())
    error = refusal(ModelNotFoundError, tmp_path, progress, f"{NAME}@v9")
    assert "'v9'" in error.what


def test_gated(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repository(NAME, checkpoint(), gated=True)
    error = refusal(ModelGatedError, tmp_path, progress)
    assert (error.exit_code, error.code) == (77, "model_gated")
    assert f"{hub.url}/{NAME}" in error.remedy
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    refusal(ModelGatedError, tmp_path, progress)
    hub.tokens.add("hf_stranger")
    assert resolve(NAME, tmp_path, progress).weights.measured
    assert {request.authorization for request in hub.requests if "/cdn/" in request.path} == {None}


def test_no_safetensors(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    config = checkpoint()["config.json"]
    hub.add_repository(NAME, {"config.json": config, "pytorch_model.bin": b"pickle"})
    error = refusal(NoSafetensorsError, tmp_path, progress)
    assert (error.exit_code, error.code) == (65, "no_safetensors")
    assert "pytorch_model.bin" in error.why
    assert "refs/pr/" in error.remedy
    hub.add_repository("org/gguf", {"model.gguf": b""})
    refusal(NoSafetensorsError, tmp_path, progress, "org/gguf")
    assert hub.count("GET", ".bin") + hub.count("GET", ".gguf") == 0


def test_what_cannot_be_used_is_refused_before_the_weights_are_fetched(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository(NAME, checkpoint(architectures=["MambaForCausalLM"]))
    assert refusal(UnsupportedModelError, tmp_path, progress, check=check_known).exit_code == 69
    files = checkpoint()
    files["tokenizer.model"] = files.pop("tokenizer.json")
    hub.add_repository(NAME, files)
    assert "from_pretrained" in refusal(ModelError, tmp_path, progress).remedy
    files = checkpoint(shards=3)
    del files["model-00003-of-00003.safetensors"]
    hub.add_repository(NAME, files)
    assert "model-00003-of-00003.safetensors" in refusal(DamagedModelError, tmp_path, progress).why
    assert hub.count("GET", "/cdn/") == 0


def test_a_cache_that_cannot_be_written(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    hub.add_repository(NAME, checkpoint())
    (tmp_path / "models").write_text("a file where the folder should be")
    assert refusal(StorageError, tmp_path, progress).exit_code == 74


def test_a_full_disk_is_noticed_before_the_download(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repository(NAME, checkpoint())
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    assert "do not fit" in refusal(StorageError, tmp_path, progress).what.replace("does", "do")
    assert content_requests(hub) == 0


def test_an_unwritable_cache_has_its_own_exit_code(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repository(NAME, checkpoint())

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("shutil.disk_usage", refuse)
    assert refusal(CacheError, tmp_path, progress).exit_code == 73


def test_a_lora_of_the_hub_is_to_be_merged(hub: HubServer, tmp_path: Path, progress: Recorder) -> None:
    adapter = json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA"}).encode()
    hub.add_repository(NAME, {"adapter_config.json": adapter, "adapter_model.safetensors": b"x"})
    error = refusal(ModelError, tmp_path, progress)
    assert "org/base" in error.why
    assert f"from_pretrained('{NAME}').merge_and_unload()" in error.remedy
