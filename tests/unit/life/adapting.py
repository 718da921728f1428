"""Adapters for the demo model, an engine that takes them, and a loader's settings and plan."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from stoker.chain import make_plan_for
from stoker.launch.generation import Delta, EngineDiedError, Generation, RequestRefusedError
from stoker.life.adapters import AdapterLoader
from stoker.plan.types import Plan
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.safetensors_header import read_header
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings, load_settings

MOST, RANK = 2, 8
SHAPES = {name: tensor.shape for name, tensor in read_header(DEMO_DIRECTORY / "model.safetensors").tensors.items()}
Q = "model.layers.0.self_attn.q_proj"
OUTPUTS, INPUTS = SHAPES[f"{Q}.weight"]


class Engine:
    """Gives a token for any adapter, except those that it is told to refuse; `gate` holds all back. It dies of the
    next few, as many as `deaths`."""

    def __init__(self) -> None:
        self.asked: list[Generation] = []
        self.refuses = False
        self.deaths = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        self.asked.append(generation)
        await self.gate.wait()
        if self.deaths:
            self.deaths -= 1
            raise EngineDiedError("the engine died")
        if self.refuses:
            raise RequestRefusedError("it has no place for layers.0")
        yield Delta((5,), None)


def pair(module: str = Q, rank: int = 4, inputs: int = INPUTS, outputs: int = OUTPUTS) -> dict[str, Any]:
    name = f"base_model.model.{module}"
    return {
        f"{name}.lora_A.weight": np.ones((rank, inputs), np.float32),
        f"{name}.lora_B.weight": np.ones((outputs, rank), np.float32),
    }


def write(directory: Path, tensors: dict[str, Any] | None = None, **config: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "demo", **config}
    (directory / "adapter_config.json").write_text(json.dumps(told))
    save_file(pair() if tensors is None else tensors, directory / "adapter_model.safetensors")
    return directory


Work = Callable[[AdapterLoader, Service, Engine], Any]


def settings_in(folder: Path) -> Settings:
    """Of a server with a cache and a watched directory there."""
    (folder / "source").mkdir()
    limits = {"max-loras": str(MOST), "max-lora-rank": str(RANK), "lora-source": str(folder / "source")}
    return load_settings({"model": "demo", "cache": str(folder / "cache"), "lora-refresh": "0", **limits}, {})


def plan_by(settings: Settings) -> Plan:
    machine = load_description("cpu:4c-8g")
    return make_plan_for(settings, Silent(), weights=True, machine=machine, buildable=False)


def with_loader(settings: Settings, plan: Plan, work: Work) -> Any:
    """What the work comes to, with a loader that has begun."""

    async def inner() -> Any:
        service, engine = Service(), Engine()
        loader = AdapterLoader(settings, service, Silent())
        await loader.begin(engine, plan, settings)  # type: ignore[arg-type]
        try:
            return await work(loader, service, engine)
        finally:
            await loader.stop()

    return asyncio.run(inner())
