"""One machine's part of an engine that another machine leads."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.errors import EngineError
from stoker.kinds.vllm.runtime.engine import RUNTIME
from stoker.kinds.vllm.runtime.opening import open_host
from stoker.kinds.vllm.runtime.process import HostProcess
from stoker.launch.run_directory import temporary_run_directory
from stoker.launch.settings import EngineSettings, settings_for
from stoker.plan.types import Chosen, KvPool
from stoker.store.engine import Engine


class VllmFollower:
    """Holds vLLM's ranks of this machine."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._host: HostProcess | None = None
        self._folder = temporary_run_directory()

    def run(self) -> None:
        self._host, connection = open_host(self._settings, Path(self._folder.name) / "host")
        connection.receive()
        connection.close()
        code = self._host.stop()
        raise EngineError("vLLM's ranks on this machine ended", why=f"exit code {code}")

    def stop(self) -> None:
        if self._host is not None:
            self._host.stop()
        self._folder.cleanup()


def follower(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> VllmFollower:
    """`gpus`: UUIDs of this machine's devices."""
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)  # this process is for nothing else
    return VllmFollower(settings_for(RUNTIME, engine, chosen, kv))
