"""The launch step: a finished engine in, a live and supervised server out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stoker.errors import EngineError
from stoker.kinds.tensorrt_llm.runtime.compiled import compiled_engine
from stoker.kinds.tensorrt_llm_pytorch.runtime.engine import pytorch_engine
from stoker.kinds.torch.runtime.engine import torch_engine
from stoker.launch import contract
from stoker.launch.python_engine import PythonEngine
from stoker.launch.servable import Servable
from stoker.launch.settings import settings_for
from stoker.launch.supervisor import Patience, Supervisor
from stoker.plan.types import TEXT, Chosen
from stoker.progress import Progress
from stoker.store.engine import Engine


def supervisor_for(
    engine: Engine,
    chosen: Chosen,
    kv_blocks: int,
    *,
    gpus: Sequence[str] = (),
    patience: Patience | None = None,
    on_state: Callable[[str], None] | None = None,
) -> Supervisor:
    """Not started yet: for callers that must be able to stop it while it starts. EngineError for other kinds.

    `gpus`: UUIDs of the plan's devices, rank by rank.
    """
    return Supervisor(servable_for(engine, chosen, kv_blocks, gpus), patience, on_state)


def servable_for(engine: Engine, chosen: Chosen, kv_blocks: int, gpus: Sequence[str] = ()) -> Servable:
    """EngineError for a kind that cannot be launched."""
    if chosen.engine == "openvino" and chosen.purpose == TEXT:
        return PythonEngine(settings_for(engine, chosen, kv_blocks))
    if chosen.engine == "openvino":
        settings = settings_for(engine, chosen, kv_blocks)
        return PythonEngine(settings, inputs=contract.EMBEDDING_INPUTS, outputs=contract.EMBEDDING_OUTPUTS)
    if chosen.engine == "tensorrt_llm":
        return compiled_engine(engine, chosen, kv_blocks, tuple(gpus))
    if chosen.engine == "tensorrt_llm_pytorch":
        return pytorch_engine(settings_for(engine, chosen, kv_blocks), tuple(gpus))
    if chosen.engine == "torch":
        return torch_engine(engine, chosen, kv_blocks, tuple(gpus))
    raise EngineError(f"engines of the kind {chosen.engine} cannot be launched yet", remedy="choose another --profile")


async def launch(
    engine: Engine,
    chosen: Chosen,
    kv_blocks: int,
    progress: Progress,
    *,
    patience: Patience | None = None,
    on_state: Callable[[str], None] | None = None,
) -> Supervisor:
    """Returns when the engine is ready: loaded, warmed up, with real tokens out of it. The caller stops it.

    EngineError with the real cause if it does not come up; nothing is left behind then.
    """
    supervisor = supervisor_for(engine, chosen, kv_blocks, patience=patience, on_state=on_state)
    await supervisor.start(progress)
    return supervisor
