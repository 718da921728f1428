"""The usual runtime, in a process that notes in the engine's directory where it crashes, at its end too."""

from __future__ import annotations

import faulthandler
from pathlib import Path

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.settings import EngineSettings

CRASH = "crash.txt"


class CrashTellingRuntime(PagedRuntime):
    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        faulthandler.enable((Path(settings.engine_directory) / CRASH).open("w"))
