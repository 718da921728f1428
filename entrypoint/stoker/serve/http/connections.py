"""How many connections there may be, in all and of one address, and which end when there is no room for a new one."""

from __future__ import annotations

import ipaddress
import logging
import resource
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 4096
MOST_DESCRIPTORS = 65536
_LEAST_RESERVE, _MOST_RESERVE = 32, 512  # descriptors for everything that is no connection of a client
_TOLD_SECONDS = 10.0


class Place:
    """One connection's. `close` is what ends it while it is idle."""

    def __init__(self, connections: Connections, address: str) -> None:
        self.address = address
        self._connections = connections
        self._left = False

    def idle(self, close: Callable[[], None]) -> None:
        """It waits for a request, and may be closed for another connection's sake."""
        if not self._left:
            self._connections.idle[self] = close

    def busy(self) -> None:
        self._connections.idle.pop(self, None)

    def leave(self) -> None:
        self.busy()
        if not self._left:
            self._left = True
            self._connections.left(self)


class Connections:
    """At most `most`, and of one address half of them. Idle ones make room for new ones, the longest idle first."""

    def __init__(self, most: int) -> None:
        self.most, self.most_each = most, max(1, most // 2)
        self.idle: dict[Place, Callable[[], None]] = {}
        self.count = 0
        self._of: dict[str, int] = {}

    def enter(self, host: str) -> Place | None:
        """None where there is no room; the refusal is logged."""
        address = network_of(host)
        if self._of.get(address, 0) >= self.most_each and not self._end_idle(address):
            refusals.tell(f"connections over {self.most_each} of one address", address)
            return None
        if self.count >= self.most and not self._end_idle():
            refusals.tell(f"connections over {self.most} in all", address)
            return None
        self._of[address] = self._of.get(address, 0) + 1
        self.count += 1
        return Place(self, address)

    def left(self, place: Place) -> None:
        self.count -= 1
        self._of[place.address] -= 1
        if not self._of[place.address]:
            del self._of[place.address]

    def _end_idle(self, address: str = "") -> bool:
        found = next((place for place in self.idle if not address or place.address == address), None)
        if found is None:
            return False
        close = self.idle[found]
        found.leave()
        close()
        return True


@lru_cache(4096)
def network_of(host: str) -> str:
    """An IPv4 address, or the /64 that one site of IPv6 has to itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class Refusals:
    """Log lines about what comes in floods: the first at once, then one for all of some seconds."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def tell(self, what: str, whom: str = "") -> None:
        now = time.monotonic()
        self._since[what] = self._since.get(what, 0) + 1
        if now - self._told.get(what, -_TOLD_SECONDS) < _TOLD_SECONDS:
            return
        self._told[what] = now
        count = self._since.pop(what)
        number = f" ({count} times since it was last logged)" if count > 1 else ""
        logger.warning("refused: %s%s%s", what, f", the last one by {whom}" if whom else "", number)


refusals = Refusals()


def raise_descriptor_limit() -> None:
    """As far as this process may: a connection is a descriptor, and soft limits of 1,024 are from another time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("cannot raise the limit of %d open files: %s", soft, error)


def room(most: int = MOST_CONNECTIONS) -> tuple[int, int]:
    """How many connections the API and the management port may have within the limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = MOST_DESCRIPTORS
    reserve = min(_MOST_RESERVE, max(_LEAST_RESERVE, soft // 8))
    left = soft - len(list(Path("/proc/self/fd").iterdir())) - reserve
    if left < most:
        logger.warning("at most %d connections: the limit of open files is %d", max(4, left), soft)
    return max(4, min(most, left)), max(4, reserve // 4)
