"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

from stoker.probe.cgroup import read_limits
from stoker.probe.cpu import host_memory


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that neither the host nor a control group would refuse now; 0 where neither is known."""
    told = [each for each in (host_memory(root)[1], read_limits(root).memory_free) if each]
    return min(told, default=0)
