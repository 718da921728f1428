"""Opening a stored engine: its checkpoint and caches, with the limits of this start."""

from __future__ import annotations

import logging
from pathlib import Path

from stoker.kinds.vllm.arguments import engine_arguments, environment
from stoker.kinds.vllm.runtime.link import Link
from stoker.kinds.vllm.runtime.process import (
    BYTECODE,
    CACHE,
    CHECKPOINT,
    SETTINGS,
    HostProcess,
    Launch,
    bytecode_environment,
    interpreter,
    prepare,
)
from stoker.launch.settings import EngineSettings

logger = logging.getLogger(__name__)


def open_host(settings: EngineSettings, folder: Path) -> tuple[HostProcess, Link]:
    """Returns when the engine is loaded. EngineError if it cannot be, EngineMemoryError for lack of memory. `folder`
    is made, for what the host needs and writes."""
    engine = Path(settings.engine_directory)
    prepare(folder, engine / CHECKPOINT, engine / CACHE, launch_of(settings, Launch.read(engine / SETTINGS)))
    host = HostProcess(folder, interpreter(), bytecode_environment(engine / BYTECODE, write=False))
    try:
        connection, facts = host.connect()
    except BaseException:
        host.stop()
        raise
    logger.info("vLLM serves: %s", facts)
    return host, connection


def launch_of(settings: EngineSettings, built: Launch) -> Launch:
    """The plan's arguments, and what the build left beside them."""
    arguments = engine_arguments(settings.chosen, settings.kv.bytes, built.quantized)
    return Launch({**arguments, **built.engine}, {**environment(settings.chosen), **built.environment})
