"""The usual runtime with steps as slow as a large model's."""

from __future__ import annotations

import time

from stoker.kinds.openvino.runtime.paged import PagedRuntime


class SlowRuntime(PagedRuntime):
    def step(self) -> bool:
        time.sleep(0.1)
        return super().step()
