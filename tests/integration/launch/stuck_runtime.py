"""The usual runtime, which does nothing for ever where the engine's folder says so: as it is opened, or in its first
step. Each that does takes a line off the file."""

from __future__ import annotations

import threading
from pathlib import Path

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.settings import EngineSettings

FILE, OPENING, STEP = "stuck", "opening", "step"


class StuckRuntime(PagedRuntime):
    def __init__(self, settings: EngineSettings) -> None:
        file = Path(settings.engine_directory, FILE)
        self._stuck, *later = [*file.read_text().split(), ""]
        file.write_text("\n".join(later))
        self._wait_at(OPENING)
        super().__init__(settings)

    def step(self) -> bool:
        self._wait_at(STEP)
        return super().step()

    def _wait_at(self, place: str) -> None:
        if self._stuck == place:
            threading.Event().wait()
