"""A checkpoint into memory, once: in its planned type, on its device, with the best attention that it can have."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from stoker.launch.settings import EngineSettings
from stoker.launch.torch.quantizing import quantization_of

logger = logging.getLogger(__name__)

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
_FLASH_CAPABILITY = (8, 0)


def load_model(settings: EngineSettings) -> Any:
    """The model on its device, in evaluation mode. What transformers raises for a checkpoint that it cannot load."""
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(settings.threads)
    failure: Exception | None = None
    for attention in attentions(settings.device):
        try:
            return _load(settings, attention)
        except (ImportError, ValueError) as error:
            failure = failure or error
            logger.info("not with the attention %s: %s", attention, error)
    assert failure is not None
    raise failure


def attentions(device: str) -> Iterator[str]:
    """Best first. Flash attention's kernels need compute capability 8.0; HIP's count by other numbers."""
    installed = importlib.util.find_spec("flash_attn") is not None
    if device == "cuda" and installed and torch.cuda.get_device_capability() >= _FLASH_CAPABILITY:
        yield "flash_attention_2"
    yield from ("sdpa", "eager")


def _load(settings: EngineSettings, attention: str) -> Any:
    where = {"device_map": {"": "cuda:0"}} if settings.device == "cuda" else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        Path(settings.engine_directory),
        dtype=DTYPES[settings.activation_precision],
        attn_implementation=attention,
        quantization_config=quantization_of(settings),
        local_files_only=True,
        **where,
    )
    return model.eval()
