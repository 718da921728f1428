"""What a build asks of an engine kind, and what this installation answers for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.attributes import attribute
from stoker.errors import BuildError
from stoker.plan.types import TEXT, Chosen, Plan

if TYPE_CHECKING:
    from stoker.resolve.model import Model


def nothing_more(_: Model, __: Chosen) -> Mapping[str, object]:
    """For kinds whose key has nothing but fields of Chosen."""
    return {}


MACHINES = ("nodes", "node_rank", "leader")
"""Fields of the plan's choices that say which machine of how many this is: no engine's bytes depend on them."""


@dataclass(frozen=True)
class KeyFields:
    """What of a plan an engine's key is made from. Each field of Chosen is in one of two groups: `built` change the
    engine's bytes, `launched` are only given to the engine when it starts. ValueError unless every field is in exactly
    one: a new field of Chosen must be sorted in by every kind.

    `derived` gives further inputs by name, for example what of the model's config depends on a field of `launched`.
    """

    built: tuple[str, ...]
    launched: tuple[str, ...]
    derived: Callable[[Model, Chosen], Mapping[str, object]]

    def __post_init__(self) -> None:
        stated, known = sorted([*self.built, *self.launched]), sorted(field.name for field in fields(Chosen))
        if stated != known:
            wrong = sorted({*stated} ^ {*known}) or sorted({name for name in stated if stated.count(name) > 1})
            raise ValueError(f"key fields: {', '.join(wrong)} must be in exactly one of `built` and `launched`")

    def choices(self, plan: Plan) -> dict[str, object]:
        """What the key of this plan's engine depends on. What most engines do without is left out of theirs."""
        usual = {"purpose": TEXT, "max_loras": 0, "max_lora_rank": 0, "speculative": "off", "draft": ""}
        chosen = {name: getattr(plan.chosen, name) for name in self.built}
        chosen = {name: value for name, value in chosen.items() if name not in usual or usual[name] != value}
        return {**chosen, **self.derived(plan.model, plan.chosen)}


@dataclass(frozen=True)
class BuildPart:
    """How engines of a kind are built. Texts in `module:attribute` form are imported when they are called.

    worker: module that `python -m` runs in a process of its own (stoker.build.child).
    modules: Python modules that must be importable here for engines of this kind to be built and served.
    packages: distributions whose versions change the bytes of an engine, and so its key.
    version: version of the kind's own builder; raise it whenever it writes other bytes from the same inputs.
    folders: `() -> Sequence[str]`, the folders in which `packages` are installed, this interpreter's or others;
        BuildError, with what to do, where a tool is missing.
    disk: `(Plan, Path) -> int`, bytes on the disk at the fullest moment of a build in that folder, without the model.
    ranks_at_once: `(Plan) -> int`, how many ranks' engines the host's memory has room to build side by side.
    key: which fields of Chosen change an engine.
    portable: an engine runs on any machine of its architecture, not only where its hardware's like built it.
    """

    worker: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    version: str
    folders: str
    disk: str
    ranks_at_once: str
    key: KeyFields
    portable: bool

    def package_folders(self) -> tuple[str, ...]:
        """Raises BuildError where a tool is missing."""
        find: Callable[[], Sequence[str]] = attribute(self.folders)
        return tuple(find())

    def disk_bytes(self, plan: Plan, workspace: Path) -> int:
        measure: Callable[[Plan, Path], int] = attribute(self.disk)
        return measure(plan, workspace)

    def parallel_ranks(self, plan: Plan) -> int:
        count: Callable[[Plan], int] = attribute(self.ranks_at_once)
        return count(plan)

    @property
    def available(self) -> bool:
        """Whether what it needs is installed here. Imports and runs nothing of that."""
        if any(find_spec(module) is None for module in self.modules):
            return False
        try:
            self.package_folders()
        except BuildError:
            return False
        return True

    def versions(self) -> dict[str, str]:
        """Installed versions by package; a package that is missing is left out. Imports none of them."""
        found = {"builder": self.version}
        try:
            folders = list(self.package_folders())
        except BuildError:
            return found
        for package in self.packages:
            if installed := next(iter(distributions(name=package, path=folders)), None):
                found[package] = installed.version
        return found


def own_folders() -> tuple[str, ...]:
    """For kinds whose packages are installed for this interpreter."""
    return tuple(sys.path)


def engine_alone(plan: Plan, _: Path) -> int:
    """Disk for kinds that write nothing but the engine."""
    return weights_bytes(plan)


def linked_alone(_: Plan, __: Path) -> int:
    """Disk for kinds that link to the checkpoint and write nothing of its size."""
    return 0


def one_rank(_: Plan) -> int:
    """For kinds that build in one process."""
    return 1


def weights_bytes(plan: Plan) -> int:
    """Of all devices, as the engine holds them."""
    return plan.memory.weights * max(1, len(plan.chosen.devices))


def available_of(parts: Mapping[str, BuildPart]) -> frozenset[str]:
    """The kinds that this installation can build."""
    return frozenset(name for name, part in parts.items() if part.available)
