"""What clients have not taken yet, over all of them: bounded, at the cost of whoever has the most."""

from __future__ import annotations

from typing import Protocol

from stoker.serve.http.connections import refusals

MOST_BYTES = 128 << 20


class Holder(Protocol):
    """Whoever keeps bytes for one client."""

    def give_up(self) -> None:
        """Lets go of them, and of the client."""


class Backlog:
    """All of it belongs to one event loop."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.total = 0
        self._most = most
        self._held: dict[Holder, int] = {}

    def hold(self, holder: Holder, size: int) -> None:
        """So many bytes from now on, in place of what it held."""
        self.total += size - self._held.get(holder, 0)
        self._held[holder] = size
        while self.total > self._most:
            largest = max(self._held, key=self._held.__getitem__)
            self.release(largest)
            refusals.tell(f"answers that were not read while {self._most >> 20} MiB of them waited")
            largest.give_up()

    def release(self, holder: Holder) -> None:
        self.total -= self._held.pop(holder, 0)


backlog = Backlog()
