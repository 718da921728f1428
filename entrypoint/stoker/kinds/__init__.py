"""The registry of engine kinds: those below, and the entry points `stoker.kinds` of other installed packages."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from stoker.attributes import attribute
from stoker.errors import UsageError
from stoker.nearest import did_you_mean

if TYPE_CHECKING:
    from stoker.kinds.kind import EngineKind
    from stoker.plan.kind import PlanKind

GROUP = "stoker.kinds"
OWN = (
    "stoker.kinds.openvino:KIND",
    "stoker.kinds.tensorrt_llm:KIND",
    "stoker.kinds.tensorrt_llm_pytorch:KIND",
    "stoker.kinds.vllm.kind:KIND",
    "stoker.kinds.torch:KIND",
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LOG = logging.getLogger("stoker")


@dataclass(frozen=True)
class Registry:
    """`kinds` by name, ours first. `faults`: one sentence for each entry point that is not used, naming its package."""

    kinds: Mapping[str, EngineKind]
    faults: tuple[str, ...]


def kinds() -> Mapping[str, EngineKind]:
    return registry().kinds


def kind_named(name: str) -> EngineKind:
    """UsageError for a name that no kind has."""
    known = kinds()
    if name not in known:
        raise UsageError(f"unknown engine kind {name!r}", remedy=did_you_mean(name, tuple(known)))
    return known[name]


def plan_kinds() -> tuple[PlanKind, ...]:
    """What planning asks of each. Reads their profiles; imports no engine."""
    return tuple(kind.planning() for kind in kinds().values())


def available_kinds() -> frozenset[str]:
    """Those that this installation can build and serve. Imports no engine."""
    return frozenset(name for name, kind in kinds().items() if kind.build.available)


def kinds_on_request() -> frozenset[str]:
    """Those that a deployment takes only where the user names them, or nothing else would do."""
    return frozenset(name for name, kind in kinds().items() if kind.deploy.on_request)


def own_kinds() -> Mapping[str, EngineKind]:
    """Stoker's by name, whatever else is installed."""
    return {kind.name: kind for kind in (attribute(path) for path in OWN)}


@lru_cache(1)
def registry() -> Registry:
    """Read once; faults are logged then. A kind of another package is imported here, its engine is not."""
    found = read_entry_points(own_kinds(), tuple(entry_points(group=GROUP)))
    for fault in found.faults:
        _LOG.warning("%s", fault)
    return found


def read_entry_points(own: Mapping[str, EngineKind], points: tuple[EntryPoint, ...]) -> Registry:
    """Names are taken once: a package that claims one of ours is refused, and so are packages that claim the same. What
    every command asks of a kind is asked here, so that a package whose kind fails at it is left out too."""
    claims = Counter(point.name for point in points)
    known, faults = dict(own), list[str]()
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        try:
            known[point.name] = _loaded(point, own, claims)
        except (Exception, SystemExit) as error:  # another package's code runs here, and may raise anything
            reason = str(error) or type(error).__name__
            faults.append(f"the engine kind {point.name} of the package {_package(point)} is not used: {reason}")
    return Registry(known, tuple(faults))


def _loaded(point: EntryPoint, own: Mapping[str, EngineKind], claims: Mapping[str, int]) -> EngineKind:
    from stoker.kinds.kind import EngineKind

    if point.name in own:
        raise ValueError("Stoker has a kind of that name")
    if claims[point.name] > 1:
        raise ValueError("another package has a kind of that name")
    if not _NAME.fullmatch(point.name):
        raise ValueError("its name must be lower-case letters, digits and underscores, a letter first")
    kind = point.load()
    if not isinstance(kind, EngineKind):
        raise TypeError(f"{point.value} is {type(kind).__name__}, not stoker.kinds.kind.EngineKind")
    names = (kind.name, kind.planning().name)
    if names != (point.name, point.name):
        raise ValueError(f"{point.value} has the names {names}, and the entry point {point.name!r}")
    kind.gpu_vendors()
    _ = kind.build.available
    return kind


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def text_kinds() -> Iterator[EngineKind]:
    """Those that generate text."""
    return (kind for kind in kinds().values() if "text" in kind.purposes)
