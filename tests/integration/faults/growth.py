"""Memory and descriptors of processes over time, and how fast they grow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Points = list[tuple[float, float]]


def memory(pid: int) -> dict[str, float]:
    """In MB: all that is resident, and what of it is the process's own, not of files or shared."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, amount, *_ = line.split()
        fields[name] = int(amount) * 1024 / 1e6
    return {"resident MB": fields["Rss:"], "own MB": fields["Anonymous:"]}


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def shared_memory(server: int) -> float:
    """MB that the regions of a server, by the pid of its API, take."""
    return sum(path.stat().st_blocks * 512 for path in Path("/dev/shm").glob(f"stoker-*-{server}-*")) / 1e6


@dataclass
class Samples:
    """Of `processes`, pids by name, "api" among them; times in seconds since this was made."""

    processes: Mapping[str, int]
    began: float = field(default_factory=time.monotonic)
    points: dict[str, Points] = field(default_factory=dict)

    def take(self) -> None:
        now = time.monotonic() - self.began
        for name, pid in self.processes.items():
            found = {**memory(pid), "descriptors": descriptors(pid)}
            for what, amount in found.items():
                self.points.setdefault(f"{name} {what}", []).append((now, amount))
        self.points.setdefault("shared memory MB", []).append((now, shared_memory(self.processes["api"])))

    def since(self, seconds: float) -> dict[str, Points]:
        return {name: [point for point in points if point[0] >= seconds] for name, points in self.points.items()}


def slope(points: Points) -> float:
    """Least squares, per hour."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
