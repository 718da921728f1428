"""`stoker doctor` on machines with GPUs, through the probe and the fake NVML."""

from __future__ import annotations

import resource

import pynvml
import pytest

from stoker.kinds.tensorrt_llm.doctor import checks as checks_of_driver
from stoker.probe.checks.nvidia import check_memory_lock, check_nvidia, check_peers
from stoker.probe.checks.storage import check_shared_memory
from stoker.probe.doctor import run_checks
from stoker.probe.probe import probe_machine

GIB = 1 << 30


@pytest.fixture
def machine(fake_nvml):
    def probe(*gpus, **fake):
        return probe_machine(environ={}, nvml=fake_nvml.FakeNvml(*gpus, **fake))

    return probe


@pytest.fixture
def checks(machine):
    """By name."""

    def run(*gpus, **fake):
        found = machine(*gpus, **fake)
        return {check.name: check for check in (*checks_of_driver(found), *check_nvidia(found))}

    return run


@pytest.mark.parametrize(
    ("driver", "cuda", "status"),
    [
        ("590.44.01", 13010, "ok"),
        ("615.61", 13030, "ok"),
        ("580.159.03", 13000, "warning"),
        ("570.124.06", 12080, "failed"),
        ("535.183", 12020, "failed"),
    ],
)
def test_a_driver_that_is_too_old_for_the_image(checks, fake_nvml, driver, cuda, status):
    check = checks(fake_nvml.FakeGpu("GPU-1"), driver=driver, cuda=cuda)["driver"]
    assert check.status == status
    assert driver in check.found
    assert ("590.44 or newer" in check.remedy) == (status != "ok")
    assert ("cuda-compat" in check.remedy) == (status == "failed")


def test_a_sound_machine_has_nothing_to_fix(checks, fake_nvml):
    gpus = [fake_nvml.FakeGpu(f"GPU-{number}") for number in range(2)]
    found = checks(*gpus, nvlinks=frozenset({(0, 1)}), driver="590.44.01", cuda=13010)
    found.pop("locked memory")  # this machine's own
    assert [check.status for check in found.values()] == ["ok"] * 4
    assert found["GPU peers"].found == "2 of 2 GPUs have NVLink, and none is cut off"


@pytest.mark.parametrize(
    ("limit", "status"), [(resource.RLIM_INFINITY, "ok"), (8 * GIB, "ok"), (64 << 10, "warning"), (8 << 20, "warning")]
)
def test_locked_memory(limit, status):
    check = check_memory_lock(limit)
    assert check.status == status
    assert ("--ulimit memlock=-1" in check.remedy) == (status == "warning")


@pytest.mark.parametrize(("iommu", "said"), [(True, "the IOMMU is on"), (False, "most likely the IOMMU or PCIe ACS")])
@pytest.mark.parametrize("status", ["CHIPSET_NOT_SUPPORTED", "IOH_TOPOLOGY_NOT_SUPPORTED", "NOT_SUPPORTED"])
def test_p2p_that_iommu_or_acs_block(machine, fake_nvml, tree, iommu, said, status):
    gpus = [fake_nvml.FakeGpu(f"GPU-{number}") for number in range(2)]
    found = machine(*gpus, p2p=getattr(pynvml, f"NVML_P2P_STATUS_{status}"))
    check = check_peers(found, tree({"/sys/class/iommu/dmar0": ""} if iommu else {}))
    assert check.status == "warning"
    assert said in check.remedy
    assert "iommu=pt" in check.remedy
    assert "NCCL_P2P_DISABLE=1" in check.remedy


def test_gpus_that_never_had_p2p_are_no_fault_of_the_machine(machine, fake_nvml, tree):
    gpus = [fake_nvml.FakeGpu(f"GPU-{number}", name="NVIDIA GeForce RTX 4090") for number in range(2)]
    check = check_peers(machine(*gpus, p2p=pynvml.NVML_P2P_STATUS_GPU_NOT_SUPPORTED), tree({}))
    assert "these GPUs do not support it" in check.found
    assert "iommu" not in check.remedy


def test_persistence_mode(checks, fake_nvml):
    check = checks(fake_nvml.FakeGpu("GPU-1"), fake_nvml.FakeGpu("GPU-2", persistence=False))["persistence mode"]
    assert (check.status, check.found) == ("warning", "off on GPU 1")
    assert "nvidia-smi -pm 1" in check.remedy
    assert checks(fake_nvml.FakeGpu("GPU-1", persistence=None))["persistence mode"].status == "ok"


def test_mig_with_and_without_an_instance(checks, fake_nvml):
    instance = fake_nvml.FakeGpu("MIG-1", name="NVIDIA H100 MIG 1g.10gb", total=10 * GIB, free=10 * GIB)
    for instances, said in (({0: instance}, "1 instances"), ({}, "no instance is visible here")):
        check = checks(fake_nvml.FakeGpu("GPU-1", mig=instances))["MIG"]
        assert check.status == "warning"
        assert said in check.found
        assert "nvidia-smi -mig 0" in check.remedy


@pytest.mark.parametrize(("size", "status"), [(64 << 20, "failed"), (512 << 20, "warning")])
def test_shared_memory_below_a_gibibyte(tree, size, status):
    check = check_shared_memory(size, tree({"/dev/shm/x": ""}), least=GIB)
    assert check.status == status
    assert "--shm-size=1g" in check.remedy


def test_all_checks_run_on_gpus(machine, fake_nvml, tmp_path):
    found = machine(fake_nvml.FakeGpu("GPU-1"), fake_nvml.FakeGpu("GPU-2"))
    run = run_checks(tmp_path, 0, "127.0.0.1", [checks_of_driver], found)
    names = [check.name for check in run]
    assert names[3:9] == ["GPU", "locked memory", "GPU peers", "persistence mode", "MIG", "shared memory"]
    assert names[-1] == "driver"
    assert all(check.remedy for check in run if check.status != "ok")
