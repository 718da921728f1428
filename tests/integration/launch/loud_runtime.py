"""The usual runtime, which says more in each step than a pipe holds, in one line."""

from __future__ import annotations

from stoker.kinds.openvino.runtime.paged import PagedRuntime


class LoudRuntime(PagedRuntime):
    def step(self) -> bool:
        print("x" * (1 << 20), flush=True)
        return super().step()
