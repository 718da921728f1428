"""The processor, its cores and the host's memory."""

from __future__ import annotations

import os

from stoker.probe.checks.check import Check, sized
from stoker.probe.machine import Cpu

_LEAST_MEMORY = 2 << 30


def check_cpu(cpu: Cpu) -> Check:
    """x86 kernels need AVX2 to be of use; Arm's need Advanced SIMD."""
    name = "CPU features"
    found = f"{cpu.name} ({cpu.architecture}): {', '.join(cpu.isa) or 'none that matter'}"
    if cpu.architecture not in ("x86_64", "aarch64"):
        return Check(name, "failed", found, "Stoker runs on x86_64 and aarch64")
    needed = "avx2" if cpu.architecture == "x86_64" else "neon"
    if needed not in cpu.isa:
        hint = "; in a virtual machine, pass the host's CPU through" if needed == "avx2" else ""
        return Check(name, "failed", found, f"a processor with {needed} is needed{hint}")
    return Check(name, "ok", f"{found}; {_quick_precisions(cpu.isa)}")


def _quick_precisions(isa: tuple[str, ...]) -> str:
    """Which precisions have instructions of their own here."""
    int8 = any(extension in isa for extension in ("avx512_vnni", "avx_vnni", "amx_int8", "asimd_i8mm"))
    bf16 = any(extension in isa for extension in ("avx512_bf16", "amx_bf16", "asimd_bf16"))
    quick = [name for name, there in (("int8", int8), ("bf16", bf16)) if there]
    return f"{' and '.join(quick)} in hardware" if quick else "f32 arithmetic only; int8 and int4 still save memory"


def check_cores(cpu: Cpu) -> Check:
    host = os.cpu_count() or cpu.cores
    quota = f", quota {cpu.core_quota:g}" if cpu.core_quota is not None else ""
    found = f"{cpu.cores} of the host's {host}{quota}"
    if cpu.core_quota is not None and cpu.core_quota < 1:
        return Check("cores", "warning", found, "less than one core: raise the container's CPU limit")
    return Check("cores", "ok", found)


def check_memory(cpu: Cpu) -> Check:
    limited = cpu.memory_limit < cpu.memory_total
    host = f", the limit here; the host has {sized(cpu.memory_total)}" if limited else ""
    found = f"{sized(cpu.memory_available)} free of {sized(cpu.memory_limit)}{host}"
    if cpu.memory_available < _LEAST_MEMORY:
        raised = "raise the container's memory limit" if limited else "stop other programs"
        return Check("memory", "warning", found, f"small models only; {raised}")
    return Check("memory", "ok", found)
