"""An engine kind: everything that the steps ask of it, in one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.attributes import attribute
from stoker.build.kind import BuildPart
from stoker.deploy.kind import DeployPart
from stoker.launch.kind import LaunchPart
from stoker.plan.kind import PlanKind

if TYPE_CHECKING:
    from stoker.probe.checks.check import Check
    from stoker.probe.machine import Machine


@dataclass(frozen=True)
class EngineKind:
    """No field has a default: a kind that leaves something undefined would be taken for another one. Texts in
    `module:attribute` form are imported when they are called, so that this value imports no engine.

    name: as in `--engine`, profiles and engine.json; lower-case letters, digits and underscores.
    summary: what it is and where it serves, in one line.
    evidence: how it was tested, in one sentence for docs/support.md.
    baseline: `stoker bench` compares the others with it.
    plan: `() -> PlanKind`, what planning asks, with the profiles of this installation.
    build, launch, deploy: what those steps ask.
    vendors: `() -> Iterable[str]`, vendors of GPUs (stoker.probe.machine) that this installation of the kind drives.
    doctor: `(Machine) -> Iterable[Check]`, what `stoker doctor` looks at for this kind; nothing for a machine on which
        the kind does not serve.
    """

    name: str
    summary: str
    evidence: str
    baseline: bool
    plan: str
    build: BuildPart
    launch: LaunchPart
    deploy: DeployPart
    vendors: str
    doctor: str

    def planning(self) -> PlanKind:
        find: Callable[[], PlanKind] = attribute(self.plan)
        return find()

    @property
    def purposes(self) -> tuple[str, ...]:
        """Of text, embedding and rerank those that it serves."""
        return tuple(self.launch.tensors)

    def gpu_vendors(self) -> frozenset[str]:
        find: Callable[[], Iterable[str]] = attribute(self.vendors)
        return frozenset(find())

    def checks(self, machine: Machine) -> tuple[Check, ...]:
        check: Callable[[Machine], Iterable[Check]] = attribute(self.doctor)
        return tuple(check(machine))
