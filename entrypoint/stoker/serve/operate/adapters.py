"""LoRA adapters that are served beside the model: each is a model of its own to the API, chosen by its name."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from stoker.errors import StokerError
from stoker.launch.generation import Adapter
from stoker.resolve.adapter import ResolvedAdapter


class AdapterError(StokerError):
    """An adapter that is not served, or cannot be."""

    exit_code = 65
    code = "adapter"


@dataclass(frozen=True)
class Served:
    """`adapter` is what the engine is told."""

    name: str
    adapter: Adapter
    facts: ResolvedAdapter
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def root(self) -> str:
        """Where it comes from, for clients: of a directory of this machine no more than the name."""
        reference = self.facts.reference
        return self.name if reference.startswith(("/", ".", "~")) else reference


class Loader(Protocol):
    """What loads and unloads adapters while the server runs. Raises a StokerError."""

    async def load(self, name: str, path: str, *, replace: bool) -> Served: ...

    def unload(self, name: str) -> Served: ...


class Adapters:
    """By name. `most`: how many there may be, 0 for an engine that takes none. `loader` is None until an engine is
    planned. `on_change` hears of each that comes or goes, `on_request` of each request for one. All of it belongs to
    the event loop."""

    def __init__(self) -> None:
        self.most = 0
        self.loader: Loader | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_request: Callable[[str], object] = lambda _: None
        self._served: dict[str, Served] = {}
        self._numbers = itertools.count(1)
        self._asked: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._served)

    def __iter__(self) -> Iterator[Served]:
        return iter(tuple(self._served.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._served

    def get(self, name: str) -> Served | None:
        return self._served.get(name)

    def named(self, name: str) -> Served | None:
        """For a request, which is counted."""
        if served := self.get(name):
            self._asked[name] += 1
            self.on_request(name)
        return served

    def asked(self, name: str) -> int:
        """Requests that named it since it was loaded, or loaded anew."""
        return self._asked[name]

    def next_number(self) -> int:
        return next(self._numbers)

    def put(self, served: Served) -> None:
        self._served[served.name] = served
        self.on_change()

    def replace(self, served: Iterable[Served]) -> None:
        """With those of another process."""
        self._served = {each.name: each for each in served}

    def remove(self, name: str) -> Served:
        """Requests under way go on; AdapterError where nothing has that name."""
        if name not in self._served:
            named = ", ".join(self._served) or "none"
            raise AdapterError(f"there is no adapter {name[:200]!r}", why=f"loaded: {named}")
        del self._asked[name]
        removed = self._served.pop(name)
        self.on_change()
        return removed
