"""The kind's runtime, opened. Other ranks are started before PyTorch is imported, so that all import it at once."""

from __future__ import annotations

from stoker.kinds.torch.runtime.ranks import Ranks
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Runtime


def open_runtime(settings: EngineSettings) -> Runtime:
    if settings.chosen.tensor_parallel == 1:
        from stoker.kinds.torch.runtime.choice import open_runtime as open_alone

        return open_alone(settings)
    ranks = Ranks(settings)
    try:
        from stoker.kinds.torch.runtime.together import open_together

        return open_together(settings, ranks)
    except BaseException:
        ranks.close()
        raise
