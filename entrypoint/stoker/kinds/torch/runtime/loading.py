"""A checkpoint into memory, once: in its planned type, on its device, with the best attention that it can have."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from stoker.errors import EngineError
from stoker.kinds.torch.runtime.quantizing import quantization_of
from stoker.launch.settings import EngineSettings

logger = logging.getLogger(__name__)

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
_FLASH_CAPABILITY = (8, 0)


def load_model(settings: EngineSettings) -> Any:
    """The model on its device, in evaluation mode. What transformers raises for a checkpoint that it cannot load."""
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(max(1, settings.chosen.threads // settings.chosen.tensor_parallel))
    failure: Exception | None = None
    for attention in attentions("cuda" if settings.chosen.devices else "cpu"):
        try:
            return _load(settings, attention)
        except (ImportError, ValueError) as error:
            failure = failure or error
            logger.info("not with the attention %s: %s", attention, error)
    assert failure is not None
    raise failure


def check_divisible(settings: EngineSettings) -> None:
    """EngineError for a family that transformers has no tensor parallel plan for. Loads no weights."""
    config = transformers.AutoConfig.from_pretrained(Path(settings.engine_directory), local_files_only=True)
    if not getattr(config.get_text_config(), "base_model_tp_plan", None):
        raise EngineError(
            f"a model of the type {config.model_type} cannot be divided over {settings.chosen.tensor_parallel} ranks",
            why="the installed transformers has no tensor parallel plan for it",
            remedy="use --tensor-parallel 1",
        )


def attentions(device: str) -> Iterator[str]:
    """Best first. Flash attention's kernels need compute capability 8.0; HIP's count by other numbers."""
    installed = importlib.util.find_spec("flash_attn") is not None
    if device == "cuda" and installed and torch.cuda.get_device_capability() >= _FLASH_CAPABILITY:
        yield "flash_attention_2"
    yield from ("sdpa", "eager")


def _load(settings: EngineSettings, attention: str) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        Path(settings.engine_directory),
        dtype=DTYPES[settings.chosen.activation_precision],
        attn_implementation=attention,
        quantization_config=quantization_of(settings),
        local_files_only=True,
        **_place(settings),
    )
    return model.eval()


def _place(settings: EngineSettings) -> dict[str, object]:
    """Whole on one device, or this rank's share of it, by the family's own plan (`base_model_tp_plan`)."""
    if settings.chosen.tensor_parallel > 1:
        from transformers.distributed import DistributedConfig

        return {"distributed_config": DistributedConfig(tp_size=settings.chosen.tensor_parallel)}
    return {"device_map": {"": "cuda:0"}} if settings.chosen.devices else {}
