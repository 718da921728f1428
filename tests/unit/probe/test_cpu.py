from __future__ import annotations

import os

import pytest

from stoker.probe.cgroup import Limits
from stoker.probe.cpu import probe_cpu
from stoker.probe.machine import Cpu, Node

GIB = 1 << 30
SAPPHIRE_RAPIDS = (
    "processor\t: 0\nmodel name\t: Intel(R)  Xeon(R) Platinum 8480+\nflags\t\t: fpu fma avx2 avx512f avx512dq avx512bw "
    "avx512vl avx512_vnni avx_vnni avx512_bf16 amx_bf16 amx_tile amx_int8 avx512_fp16\n\n"
    "processor\t: 1\nmodel name\t: other\nflags\t\t: fpu\n"
)
GRAVITON_3 = (
    "processor\t: 0\nBogoMIPS\t: 2100.00\n"
    "Features\t: fp asimd evtstrm aes asimdhp sve i8mm bf16 dgh\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
)
MEMORY = "MemTotal:       67108864 kB\nMemFree:        1048576 kB\nMemAvailable:   33554432 kB\n"


def test_x86_on_a_bare_host(tree):
    root = tree(
        {
            "/proc/cpuinfo": SAPPHIRE_RAPIDS,
            "/proc/meminfo": MEMORY,
            "/sys/devices/system/node/node0/cpulist": "0-3\n",
            "/sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       16777216 kB\n",
            "/sys/devices/system/node/node1/cpulist": "4-7\n",
            "/sys/devices/system/node/node2/cpulist": "\n",
        }
        | {f"/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n % 4},{n % 4 + 4}\n" for n in range(8)}
    )
    assert probe_cpu(root, set(range(8)), "x86_64", Limits()) == Cpu(
        architecture="x86_64",
        name="Intel(R) Xeon(R) Platinum 8480+",
        cores=8,
        core_quota=None,
        memory_total=64 * GIB,
        memory_limit=64 * GIB,
        memory_available=32 * GIB,
        isa=("avx2", "avx512", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8"),
        numa_nodes=2,
        physical_cores=4,
        nodes=(Node(0, (0, 1, 2, 3), 16 * GIB), Node(1, (4, 5, 6, 7))),
    )


def test_hardware_threads_of_a_core_are_beside_each_other(tree):
    cores = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    files = {cores.format(n): f"{n % 2},{n % 2 + 2}\n" for n in range(4)}
    root = tree({"/sys/devices/system/node/node0/cpulist": "0-3"} | files)
    cpu = probe_cpu(root, set(range(4)), "x86_64", Limits())
    assert cpu.nodes == (Node(0, (0, 2, 1, 3)),)


def test_a_kernel_without_numa_has_one_node(tree):
    assert probe_cpu(tree({}), {1, 4}, "x86_64", Limits()).nodes == (Node(0, (1, 4)),)


def test_limits_and_affinity_narrow_what_the_host_has(tree):
    root = tree(
        {
            "/proc/meminfo": MEMORY,
            "/sys/devices/system/node/node0/cpulist": "0-3",
            "/sys/devices/system/node/node1/cpulist": "4-7",
        }
    )
    limits = Limits(memory=8 * GIB, memory_free=3 * GIB, cores=1.6, cpus=frozenset({4, 5, 6}))
    cpu = probe_cpu(root, {0, 1, 4, 5, 6, 7}, "x86_64", limits)
    assert (cpu.cores, cpu.core_quota, cpu.physical_cores, cpu.numa_nodes) == (2, 1.6, 3, 1)
    assert (cpu.memory_total, cpu.memory_limit, cpu.memory_available) == (64 * GIB, 8 * GIB, 3 * GIB)


def test_limits_above_the_host_change_nothing(tree):
    limits = Limits(memory=999 * GIB, memory_free=998 * GIB, cores=64.0, cpus=frozenset(range(64)))
    cpu = probe_cpu(tree({"/proc/meminfo": MEMORY}), {0, 1}, "x86_64", limits)
    assert (cpu.cores, cpu.memory_limit, cpu.memory_available) == (2, 64 * GIB, 32 * GIB)


def test_a_small_quota_still_gives_one_core(tree):
    assert probe_cpu(tree({}), {0, 1, 2, 3}, "x86_64", Limits(cores=0.1)).cores == 1


def test_arm(tree):
    cpu = probe_cpu(tree({"/proc/cpuinfo": GRAVITON_3}), {0}, "aarch64", Limits())
    assert (cpu.name, cpu.isa) == ("Neoverse-V1", ("neon", "sve", "asimd_bf16", "asimd_i8mm"))


def test_unknown_arm_core_is_named_by_its_numbers(tree):
    root = tree({"/proc/cpuinfo": "CPU implementer\t: 0x61\nCPU part\t: 0x022\n"})
    assert probe_cpu(root, {0}, "aarch64", Limits()).name == "Arm 0x61/0x022"


@pytest.mark.parametrize(
    ("flags", "isa"),
    [
        ("sse4_2 avx", ()),
        ("avx2 fma", ("avx2",)),
        ("avx2 fma avx_vnni", ("avx2", "avx_vnni")),
        ("avx2 fma avx512f avx512cd", ("avx2",)),
        ("amx_bf16 amx_int8", ()),
        ("amx_tile amx_bf16 amx_fp16", ("amx_bf16", "amx_fp16")),
    ],
)
def test_an_extension_needs_all_of_its_flags(tree, flags, isa):
    assert probe_cpu(tree({"/proc/cpuinfo": f"flags : {flags}\n"}), {0}, "x86_64", Limits()).isa == isa


def test_a_silent_kernel_is_no_error(tree):
    cpu = probe_cpu(tree({}), {3}, "riscv64", Limits())
    assert cpu == Cpu("riscv64", "riscv64", 1, None, 0, 0, 0, (), 1, 1, (Node(0, (3,)),))


def test_this_machine_has_what_the_scheduler_gives():
    from stoker.probe.probe import probe_machine

    machine = probe_machine()
    assert 1 <= machine.cpu.cores <= len(os.sched_getaffinity(0))
    assert 0 < machine.cpu.memory_available <= machine.cpu.memory_limit <= machine.cpu.memory_total
