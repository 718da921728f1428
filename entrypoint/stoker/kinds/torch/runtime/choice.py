"""Which runtime a model gets: a trial says whether transformers can run it with paged attention."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Any

from stoker.kinds.torch.runtime.adapters import AdapterTurns, Projections
from stoker.kinds.torch.runtime.loading import load_model
from stoker.kinds.torch.runtime.paged import PagedRuntime
from stoker.kinds.torch.runtime.rope import is_dynamic, settle
from stoker.kinds.torch.runtime.turns import ContiguousRuntime
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Runtime

logger = logging.getLogger(__name__)

_TRIAL = Generation("trial", (1, 2, 3), max_tokens=2)


def open_runtime(settings: EngineSettings) -> Runtime:
    """Continuous batching where a trial of it succeeds; else one sequence after another, each with its own cache.

    Nothing else tells beforehand: some families' attention knows nothing of transformers' paged cache.
    """
    model = loaded(settings)
    failure = unfit(model) or _failure_of_trial(model, settings)
    if failure:
        logger.warning(
            "%s cannot be batched continuously (%s): its sequences take turns", type(model).__name__, failure
        )
    kind: Callable[[Any, EngineSettings], Runtime] = ContiguousRuntime if failure else PagedRuntime
    if not settings.chosen.max_loras:
        return kind(model, settings)
    projections = Projections(model)  # before the manager's thread runs
    return AdapterTurns(projections, kind(model, settings), settings.chosen.max_loras)


def loaded(settings: EngineSettings) -> Any:
    """The model, or this rank's share of it, with rotary frequencies that a batch can share where they can be."""
    model = load_model(settings)
    settle(model, settings.chosen.max_seq_len)
    return model


def unfit(model: Any) -> str:
    """What the paged attention without flash kernels passes over in silence; empty for nothing."""
    config = model.config.get_text_config()
    if getattr(config, "attn_logit_softcapping", None) and "flash" not in config._attn_implementation:
        return "its attention scores are soft-capped"
    return "its rotary frequencies follow each sequence's length" if is_dynamic(model) else ""


def _failure_of_trial(model: Any, settings: EngineSettings) -> str:
    """Empty where it succeeds."""
    runtime = None
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)  # of a failure we say the essence
    try:
        runtime = PagedRuntime(model, settings)
        try_out(runtime)
    except Exception as error:  # whatever its forward raises
        return str(error) or type(error).__name__
    finally:
        if runtime is not None:
            runtime.close()
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.WARNING)
        gc.collect()
    return ""


def try_out(runtime: PagedRuntime) -> None:
    """A few tokens; raises whatever the model's forward raises."""
    sequence = runtime.add(_TRIAL)
    while not sequence.read().ended:
        runtime.step()
