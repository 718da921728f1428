"""Golden adapters: LoRAs whose weights follow from their tensors' names, and the tokens that PEFT gives with them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from golden_weights import write_safetensors

ADAPTERS = Path(__file__).parent / "adapters"


@dataclass(frozen=True)
class GoldenAdapter:
    name: str
    facts: dict[str, Any]
    inputs: list[list[int]]
    continuations: list[list[int]]

    @property
    def base(self) -> str:
        return str(self.facts["base"])

    def write(self, directory: Path) -> Path:
        directory.mkdir(exist_ok=True)
        write_adapter(directory, self.facts["config"], self.facts["shapes"])
        return directory


def adapter_names() -> list[str]:
    return sorted(path.stem for path in ADAPTERS.glob("*.npz"))


def load_adapter(name: str) -> GoldenAdapter:
    with np.load(ADAPTERS / f"{name}.npz") as file:
        facts = json.loads(str(file["facts"]))
        inputs = [file[f"prompt_{index}"].tolist() for index in range(facts["prompts"])]
        return GoldenAdapter(
            name, facts, inputs, [file[f"tokens_{index}"].tolist() for index in range(facts["prompts"])]
        )


def weight(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Large enough to change most tokens, small enough that the base still counts."""
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return (0.9 * draw / np.sqrt(shape[-1])).astype(np.float32)


def write_adapter(directory: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """As PEFT saves it; another `r` in the config gives other weights, so that adapters of one shape differ."""
    (directory / "adapter_config.json").write_text(json.dumps(config))
    salt = f"{config['r']} {config['lora_alpha']} "
    tensors = {name: weight(salt + name, tuple(shape)) for name, shape in shapes.items()}
    write_safetensors(directory / "adapter_model.safetensors", tensors)
