"""What keeps engines from AMD's GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.probe.checks.check import Check
from stoker.probe.machine import Machine


def check_amd(machine: Machine) -> Iterator[Check]:
    """Nothing unless there are GPUs of AMD's that this process may not open."""
    shut = next((note for note in machine.notes if note.startswith("no AMD GPU")), "")
    if shut:
        remedy = (
            "docker run --device /dev/kfd --device /dev/dri --group-add render; on a host: usermod -aG render,video"
        )
        yield Check("AMD GPU", "warning", shut, remedy)
