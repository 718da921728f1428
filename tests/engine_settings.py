"""Settings of an engine as a test wants them: fields of the plan's choices and of the KV pool by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stoker.launch.settings import EngineSettings
from stoker.plan.types import Chosen, KvPool

CHOSEN: dict[str, Any] = {
    "profile": "test",
    "engine": "test",
    "purpose": "text",
    "precision": "f32",
    "kv_precision": "f32",
    "activation_precision": "f32",
    "tensor_parallel": 1,
    "pipeline_parallel": 1,
    "devices": (),
    "max_batch_size": 8,
    "max_num_tokens": 64,
    "max_seq_len": 512,
    "threads": 1,
}


def engine_settings(runtime: str, directory: Path, *, kv_blocks: int = 64, **changes: Any) -> EngineSettings:
    """`changes` are fields of Chosen."""
    return EngineSettings(runtime, str(directory), Chosen(**{**CHOSEN, **changes}), KvPool(kv_blocks, 32, 1))
