"""Which runtime a model gets: a trial says whether transformers can run it with paged attention."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import Any

import torch.distributed as dist

from stoker.errors import EngineError
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Runtime
from stoker.launch.torch.group import join
from stoker.launch.torch.loading import check_divisible, load_model
from stoker.launch.torch.paged import PagedRuntime
from stoker.launch.torch.ranks import RankedRuntime, Ranks
from stoker.launch.torch.rope import is_dynamic, settle
from stoker.launch.torch.turns import ContiguousRuntime

logger = logging.getLogger(__name__)

_TRIAL = Generation("trial", (1, 2, 3), max_tokens=2)
_ALONE = "use --tensor-parallel 1"


def open_runtime(settings: EngineSettings) -> Runtime:
    """Continuous batching where a trial of it succeeds; else one sequence after another, each with its own cache.

    Nothing else tells beforehand: some families' attention knows nothing of transformers' paged cache.
    """
    if settings.ranks > 1:
        return _open_with_ranks(settings)
    model = _loaded(settings)
    failure = _unfit(model) or _failure_of_trial(model, settings)
    if not failure:
        return PagedRuntime(model, settings)
    logger.warning("%s cannot be batched continuously (%s): its sequences take turns", type(model).__name__, failure)
    return ContiguousRuntime(model, settings)


def _loaded(settings: EngineSettings) -> Any:
    model = load_model(settings)
    settle(model, settings.max_seq_len)
    return model


def _open_with_ranks(settings: EngineSettings) -> Runtime:
    """Rank 0's runtime, with the others started. Only continuous batching keeps ranks in step: EngineError without."""
    if dist.is_initialized():  # by a runtime that broke, whose ranks may be anywhere in a step
        raise EngineError("an engine of several ranks cannot be opened twice in one process")
    check_divisible(settings)
    ranks = Ranks(settings)
    try:
        join(settings, 0, ranks.rendezvous)
        model = _loaded(settings)
        if failure := _unfit(model):
            raise EngineError(f"{type(model).__name__} cannot be served by several ranks", why=failure, remedy=_ALONE)
        runtime = RankedRuntime(model, settings, ranks)
        for _ in _tokens(runtime):
            pass
    except BaseException:
        ranks.close()
        raise
    return runtime


def _unfit(model: Any) -> str:
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
        for _ in _tokens(runtime):
            pass
    except Exception as error:  # whatever its forward raises
        return str(error) or type(error).__name__
    finally:
        if runtime is not None:
            runtime.close()
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.WARNING)
        gc.collect()
    return ""


def _tokens(runtime: PagedRuntime) -> Iterator[int]:
    sequence = runtime.add(_TRIAL)
    ended = False
    while not ended:
        runtime.step()
        output = sequence.read()
        ended = output.ended
        yield from output.ids
