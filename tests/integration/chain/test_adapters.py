"""LoRA adapters behind the API: chosen by name, loaded and unloaded while others generate, and refused by name."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator

import pytest
from tests import adapted
from tests.adapted import PROMPTS, Adapted, write

pytest.importorskip("openvino_genai")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapted]:
    server = Adapted(tmp_path_factory.mktemp("adapted"), "--precision", "f32", "--kv-precision", "f32")
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def test_adapters_are_models_whose_parent_is_the_base(server: Adapted) -> None:
    cards = server.models()
    assert [*cards] == ["demo", "named", "watched0", "watched1", "watched2"]
    assert {card["parent"] for name, card in cards.items() if name != "demo"} == {"demo"}
    assert cards["named"]["root"] == "named"  # not where it lies
    assert len({server.says(name, PROMPTS[0]) for name in cards}) > 2
    with urllib.request.urlopen(f"http://127.0.0.1:{server.management}/metrics", timeout=10) as answer:
        assert 'stoker_adapter_info{adapter="named",rank="8",' in answer.read().decode()
    with urllib.request.urlopen(f"{server.url}/v1/status", timeout=10) as answer:
        told = {each["name"]: each for each in json.load(answer)["adapters"]}
    assert [*told] == ["named", "watched0", "watched1", "watched2"]
    assert (told["named"]["parent"], told["named"]["rank"], told["named"]["requests"]) == ("demo", 8, 1)
    with urllib.request.urlopen(f"{server.url}/v1/health/startup", timeout=10) as answer:
        assert json.load(answer)["adapters"] == 4


def test_loading_and_unloading_under_load_gives_no_wrong_answer(server: Adapted) -> None:
    adapted.load_and_unload_under_load(server, rounds=3)


def test_a_request_under_way_goes_on_when_its_adapter_is_unloaded(server: Adapted) -> None:
    assert server.operate("load", lora_name="passing", lora_path="watched1")[0] == 200
    body = {"model": "passing", "prompt": PROMPTS[0], "max_tokens": 300, "temperature": 0, "ignore_eos": True}
    whole = server.post(f"{server.url}/v1/completions", body)[1]["choices"][0]["text"]
    data = json.dumps({**body, "stream": True}).encode()
    request = urllib.request.Request(f"{server.url}/v1/completions", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        lines = [answer.readline()]
        assert server.operate("unload", lora_name="passing")[0] == 200
        lines += answer.readlines()
    *pieces, done = [line.removeprefix(b"data: ").strip() for line in lines if line.strip()]
    assert done == b"[DONE]"
    assert "".join(json.loads(piece)["choices"][0]["text"] for piece in pieces) == whole
    assert server.post(f"{server.url}/v1/completions", body)[0] == 404


def test_the_source_is_watched(server: Adapted) -> None:
    shutil.copytree(server.source / "watched0", server.folder / "staged")
    (server.folder / "staged").rename(server.source / "later")
    server.wait_until(lambda: "later" in server.models(), "serving what came")
    assert server.says("later", PROMPTS[1]) == server.says("watched0", PROMPTS[1])
    shutil.rmtree(server.source / "later")
    server.wait_until(lambda: "later" not in server.models(), "without what left")


@pytest.mark.parametrize(
    ("name", "path", "status", "why"),
    [
        ("x", "{folder}/named", 400, "not in --lora-source"),
        ("x", "../named", 400, "not in --lora-source"),
        ("x", "nothing", 404, "there is no adapter"),
        ("demo", "watched0", 400, "the model's own name"),
        ("named", "watched0", 400, "loaded already"),
        ("a b", "watched0", 400, "is not a valid name for an adapter"),
        ("x", "out", 400, "is a link out of its directory"),
        ("x", "large", 400, "start with --max-lora-rank 32"),
    ],
)
def test_what_cannot_be_loaded_is_refused_by_name(server: Adapted, name: str, path: str, status: int, why: str) -> None:
    """The last two are looked at in the source, but not by its watch: they have no place there for long."""
    extra = server.source / path
    if path == "large":
        write(server.folder / "large", rank=32).rename(extra)
    if path == "out":
        extra.mkdir()
        (extra / "adapter_config.json").write_bytes((server.source / "watched0" / "adapter_config.json").read_bytes())
        (extra / "adapter_model.safetensors").symlink_to(server.folder / "named" / "adapter_model.safetensors")
    try:
        found = server.operate("load", lora_name=name, lora_path=path.format(folder=server.folder))
        assert (found[0], why in found[1]["error"]["message"]) == (status, True), found
    finally:
        if path in ("large", "out"):
            shutil.rmtree(extra)


def test_the_apis_port_loads_nothing(server: Adapted) -> None:
    assert server.post(f"{server.url}/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "watched0"})[0] == 404
    assert server.operate("load", lora=1)[0] == 400
    assert server.operate("unload", lora_name="nothing")[0] == 404
