"""LoRA adapters behind the API: chosen by name, loaded and unloaded while others generate, and refused by name."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load

from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.safetensors_header import read_header

pytest.importorskip("openvino_genai")
chain = load("chain_tests_conftest", Path(__file__).with_name("conftest.py"))
GOLDENS = Path(__file__).parents[1] / "goldens"
load("golden_weights", GOLDENS / "golden_weights.py")
PROMPTS = [f"Once upon a time there were {count}" for count in ("two", "three", "nine", "many")]
STREAMS = 16


def write(directory: Path, rank: int = 8, alpha: float = 3.0, **changes: Any) -> Path:
    """A random LoRA of every projection of the demo model."""
    golden = load("golden_adapters", GOLDENS / "golden_adapters.py")
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in read_header(DEMO_DIRECTORY / "model.safetensors").tensors.items():
        if name.endswith("_proj.weight"):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            shapes[f"{module}.lora_A.weight"] = (rank, tensor.shape[1])
            shapes[f"{module}.lora_B.weight"] = (tensor.shape[0], rank)
    directory.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "base_model_name_or_path": "demo", **changes}
    golden.write_adapter(directory, config, shapes)
    return directory


class Adapted(chain.Server):
    def __init__(self, folder: Path) -> None:
        self.folder, self.source, self.management = folder, folder / "source", chain.free_port()
        for index in range(3):
            write(self.source / f"watched{index}", alpha=2 + index)
        exact = ["--precision", "f32", "--kv-precision", "f32", "--max-loras", "5", "--max-lora-rank", "16"]
        places = [
            "--lora",
            f"named={write(folder / 'named')}",
            "--lora-source",
            str(self.source),
            "--lora-refresh",
            "1",
        ]
        arguments = ["demo", *exact, *places, "--management-port", str(self.management)]
        super().__init__(folder / "log", arguments, {"STOKER_CACHE": str(folder / "cache")})

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                status, text = int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        return status, json.loads(text) if text.startswith("{") else text

    def operate(self, verb: str, **body: Any) -> tuple[int, Any]:
        return self.post(f"http://127.0.0.1:{self.management}/v1/{verb}_lora_adapter", body)

    def models(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/v1/models", timeout=10) as answer:
            return {card["id"]: card for card in json.load(answer)["data"]}

    def says(self, model: str, prompt: str) -> str:
        wish = {"model": model, "prompt": prompt, "max_tokens": 16, "temperature": 0, "ignore_eos": True}
        status, answer = self.post(f"{self.url}/v1/completions", wish)
        assert status == 200, answer
        return str(answer["choices"][0]["text"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapted]:
    server = Adapted(tmp_path_factory.mktemp("adapted"))
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


def test_loading_and_unloading_under_load_gives_no_wrong_answer(server: Adapted) -> None:
    """What is loaded again and again has the weights of one that stays, and so its answers."""
    shutil.copytree(server.source / "watched1", server.folder / "copy")
    names = ["demo", "named", "watched0", "watched1", "watched2"]
    expected = {(name, prompt): server.says(name, prompt) for name in names for prompt in PROMPTS}
    over = threading.Event()

    def stream(index: int) -> int:
        wrong, count = 0, 0
        while not over.is_set() or not count:
            key = (names[(index + count) % len(names)], PROMPTS[(index * 3 + count) % len(PROMPTS)])
            wrong += server.says(*key) != expected[key]
            count += 1
        assert wrong == 0, f"{wrong} of {count} answers are wrong"
        return count

    with ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(stream, index) for index in range(STREAMS)]
        try:
            for _ in range(3):
                assert server.operate("load", lora_name="passing", lora_path="watched1")[0] == 200
                for prompt in PROMPTS:
                    assert server.says("passing", prompt) == expected["watched1", prompt]
                assert server.operate("unload", lora_name="passing")[0] == 200
        finally:
            over.set()
        assert sum(each.result() for each in streams) >= STREAMS
    assert server.post(f"{server.url}/v1/completions", {"model": "passing", "prompt": "a"})[0] == 404


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
        ("a b", "watched0", 400, "is not NAME=ADAPTER"),
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
