"""A server with LoRA adapters, and what is asked of one under load; for the tests of several kinds."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.loading import load
from tests.ports import free_port
from tests.serving import Server

from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.safetensors_header import read_header

GOLDENS = Path(__file__).parent / "integration" / "goldens"
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


class Adapted(Server):
    """The demo model in f32 with adapters: one that is named, and three of a watched folder. `exact`: the flags for
    f32."""

    def __init__(self, folder: Path, *exact: str) -> None:
        self.folder, self.source, self.management = folder, folder / "source", free_port()
        for index in range(3):
            write(self.source / f"watched{index}", alpha=2 + index)
        limits = ["--max-loras", "5", "--max-lora-rank", "16"]
        places = [
            "--lora",
            f"named={write(folder / 'named')}",
            "--lora-source",
            str(self.source),
            "--lora-refresh",
            "1",
        ]
        arguments = ["demo", *exact, *limits, *places, "--management-port", str(self.management)]
        super().__init__(folder / "log", arguments, {"STOKER_CACHE": str(folder / "cache")})

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
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
        body = {"model": model, "prompt": prompt, "max_tokens": 16, "temperature": 0, "ignore_eos": True}
        status, answer = self.post(f"{self.url}/v1/completions", body)
        assert status == 200, answer
        return str(answer["choices"][0]["text"])


def load_and_unload_under_load(server: Adapted, rounds: int, prompts: Sequence[str] = PROMPTS) -> None:
    """No answer is wrong meanwhile. What is loaded again and again has the weights of one that stays, and so its
    answers."""
    shutil.copytree(server.source / "watched1", server.folder / "copy")
    names = ["demo", "named", "watched0", "watched1", "watched2"]
    expected = {(name, prompt): server.says(name, prompt) for name in names for prompt in prompts}
    over = threading.Event()

    def stream(index: int) -> int:
        wrong, count = 0, 0
        while not over.is_set() or not count:
            key = (names[(index + count) % len(names)], prompts[(index * 3 + count) % len(prompts)])
            wrong += server.says(*key) != expected[key]
            count += 1
        assert wrong == 0, f"{wrong} of {count} answers are wrong"
        return count

    with ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(stream, index) for index in range(STREAMS)]
        try:
            for _ in range(rounds):
                assert server.operate("load", lora_name="passing", lora_path="watched1")[0] == 200
                for prompt in prompts:
                    assert server.says("passing", prompt) == expected["watched1", prompt]
                assert server.operate("unload", lora_name="passing")[0] == 200
        finally:
            over.set()
        assert sum(each.result() for each in streams) >= STREAMS
    assert server.post(f"{server.url}/v1/completions", {"model": "passing", "prompt": "a"})[0] == 404
