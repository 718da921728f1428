"""Rank 0 of tensor parallelism: its runtime, in step with those of the other ranks."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from stoker.errors import EngineError
from stoker.kinds.torch.runtime.choice import loaded, try_out, unfit
from stoker.kinds.torch.runtime.group import join
from stoker.kinds.torch.runtime.loading import check_divisible
from stoker.kinds.torch.runtime.paged import PagedRuntime
from stoker.kinds.torch.runtime.ranks import Ranks
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Runtime


class RankedRuntime(PagedRuntime):
    """Its manager tells the others' what comes and goes, and each computes its share of every step."""

    def __init__(self, model: Any, settings: EngineSettings, ranks: Ranks) -> None:
        self._ranks = ranks
        super().__init__(model, settings)

    def close(self) -> None:
        self._ranks.expect_end()
        super().close()
        self._ranks.close()


def open_together(settings: EngineSettings, ranks: Ranks) -> Runtime:
    """Only continuous batching keeps ranks in step: EngineError for a model that knows none."""
    if dist.is_initialized():  # by a runtime that broke, whose ranks may be anywhere in a step
        raise EngineError("an engine of several ranks cannot be opened twice in one process")
    check_divisible(settings)
    join(settings, 0, ranks.rendezvous)
    model = loaded(settings)
    if failure := unfit(model):
        name = type(model).__name__
        raise EngineError(f"{name} cannot be divided over ranks", why=failure, remedy="use --tensor-parallel 1")
    runtime = RankedRuntime(model, settings, ranks)
    try_out(runtime)
    return runtime
