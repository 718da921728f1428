"""`stoker doctor`: is this machine fit to serve, and if not, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from stoker.probe.checks.amd import check_amd
from stoker.probe.checks.check import Check
from stoker.probe.checks.gpu import check_gpu
from stoker.probe.checks.network import check_port
from stoker.probe.checks.nvidia import LEAST_SHARED_MEMORY, check_nvidia
from stoker.probe.checks.processor import check_cores, check_cpu, check_memory
from stoker.probe.checks.software import check_glibc, check_libpython, check_python, check_triton
from stoker.probe.checks.storage import check_cache, check_disk, check_filesystem, check_shared_memory
from stoker.probe.machine import Machine
from stoker.probe.probe import probe_machine

__all__ = ["Check", "render_checks", "run_checks"]


def run_checks(
    cache: Path,
    port: int,
    host: str,
    of_kinds: Iterable[Callable[[Machine], Iterable[Check]]],
    machine: Machine | None = None,
) -> tuple[Check, ...]:
    """Every check, in the order in which a start would meet the trouble; `of_kinds` are those of the engine kinds.
    Leaves nothing behind."""
    machine = machine or probe_machine()
    return (
        check_cpu(machine.cpu),
        check_cores(machine.cpu),
        check_memory(machine.cpu),
        check_gpu(machine),
        *check_nvidia(machine),
        *check_amd(machine),
        _shared_memory(machine),
        check_cache(cache),
        check_filesystem(cache),
        check_disk(cache),
        check_port(host, port),
        check_python(),
        check_libpython(),
        check_glibc(),
        check_triton(),
        *(found for check in of_kinds for found in check(machine)),
    )


def _shared_memory(machine: Machine) -> Check:
    if machine.gpus:
        return check_shared_memory(machine.shared_memory, least=LEAST_SHARED_MEMORY)
    return check_shared_memory(machine.shared_memory)


def render_checks(checks: tuple[Check, ...]) -> str:
    """Plain text, a line a check and a line a remedy."""
    width = max((len(check.name) for check in checks), default=0)
    lines: list[str] = []
    for check in checks:
        lines.append(f"{check.status:<8} {check.name:<{width}}  {check.found}")
        if check.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.remedy}")
    return "\n".join(lines) + "\n"
