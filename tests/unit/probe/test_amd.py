"""AMD GPUs, as the kernel tells of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.fake_amdgpu import GIB, FakeAmd, amd_files

from stoker.kinds.torch import doctor
from stoker.kinds.torch.vendor import vendor_of
from stoker.probe.amd import gfx_name, probe_amd_gpus
from stoker.probe.checks.amd import check_amd
from stoker.probe.checks.gpu import check_gpu
from stoker.probe.checks.nvidia import check_nvidia
from stoker.probe.machine import Machine
from stoker.probe.probe import probe_machine
from stoker.probe.visible_devices import visible_to_pytorch

TWO = (FakeAmd(0x2FDD6A4DBA5C2D3C), FakeAmd(0xF02143CC3E5E66AB, used=40 * GIB))
UUIDS = ("GPU-2fdd6a4dba5c2d3c", "GPU-f02143cc3e5e66ab")


@pytest.fixture
def machine(tree, fake_nvml):
    """The machine of these files, of two cores and no NVIDIA GPU."""

    def machine(files: dict[str, str], **environ: str) -> Machine:
        root = tree({"proc/meminfo": "MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\n", **files})
        nvml = fake_nvml.FakeNvml(failing={"nvmlInit": fake_nvml.LIBRARY_NOT_FOUND})
        return probe_machine(root, affinity={0, 1}, environ=environ, nvml=nvml)

    return machine


def test_name_memory_target_and_links(machine) -> None:
    found = machine(amd_files(TWO, linked=True))
    first, second = found.gpus
    assert (first.vendor, first.architecture, first.name) == ("amd", "gfx942", "AMD Instinct MI300X")
    assert (first.uuid, second.uuid) == UUIDS
    assert (first.memory_total, first.memory_free) == (192 * GIB, 192 * GIB - (256 << 20))
    assert second.memory_free == 152 * GIB
    assert (first.nvlink_peers, second.nvlink_peers) == ((1,), (0,))
    assert (first.pci_bus_id, second.pci_bus_id) == ("0000:11:00.0", "0000:12:00.0")
    assert found.name == "2x AMD Instinct MI300X"


@pytest.mark.parametrize(
    ("version", "name"),
    [(90402, "gfx942"), (90010, "gfx90a"), (90008, "gfx908"), (110000, "gfx1100"), (100300, "gfx1030")],
)
def test_the_target_s_name(version: int, name: str) -> None:
    assert gfx_name(version) == name


def test_without_a_unique_id_a_gpu_is_called_by_its_place(machine) -> None:
    card = FakeAmd(0, 110000, product="", total=24 * GIB, vram_told=False)
    found = machine(amd_files((card, card)))
    assert [gpu.uuid for gpu in found.gpus] == ["0", "1"]
    assert (found.gpus[0].name, found.gpus[0].memory_total) == ("AMD gfx1100", 24 * GIB)


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({}, (0, 1)),
        ({"ROCR_VISIBLE_DEVICES": "1"}, (1,)),
        ({"ROCR_VISIBLE_DEVICES": f"{UUIDS[1]},0"}, (1, 0)),
        ({"HIP_VISIBLE_DEVICES": "1"}, (1,)),
        ({"ROCR_VISIBLE_DEVICES": "1,0", "HIP_VISIBLE_DEVICES": "0"}, (1,)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, (0,)),
        ({"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "1"}, (1,)),
        ({"HIP_VISIBLE_DEVICES": "-1"}, ()),
    ],
)
def test_the_environment_leaves_visible(machine, environ: dict[str, str], left: tuple[int, ...]) -> None:
    found = machine(amd_files(TWO), **environ)
    assert tuple(gpu.uuid for gpu in found.gpus) == tuple(UUIDS[place] for place in left)
    assert [gpu.index for gpu in found.gpus] == list(range(len(left)))
    assert left or any("HIP_VISIBLE_DEVICES=-1 hides every GPU" in note for note in found.notes)


def test_a_container_has_what_it_was_given(machine) -> None:
    found = machine(amd_files((TWO[0], FakeAmd(TWO[1].unique_id, given=False)), linked=True))
    assert [gpu.uuid for gpu in found.gpus] == [UUIDS[0]]
    assert any("/dev/dri/renderD136 is not here" in note for note in found.notes)
    assert found.gpus[0].nvlink_peers == ()


def test_what_is_shut_away_is_told_with_what_to_do(machine) -> None:
    found = machine(amd_files(TWO, entrance=False))
    assert found.gpus == ()
    (check,) = check_amd(found)
    assert (check.status, "--device /dev/kfd" in check.remedy) == ("warning", True)
    assert "/dev/kfd is not here" in check.found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_without_permission_it_says_whose_group(tree) -> None:
    root = tree(amd_files(TWO))
    (root / "dev/kfd").chmod(0)
    assert "no permission" in probe_amd_gpus(root, {}).notes[0]


def test_it_comes_after_nvidia_s_and_shares_no_variable_with_them(tree, fake_nvml) -> None:
    root = tree({"proc/meminfo": "MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\n", **amd_files(TWO[:1])})
    nvml = fake_nvml.FakeNvml(fake_nvml.FakeGpu("GPU-7"))
    found = probe_machine(root, affinity={0}, environ={"CUDA_VISIBLE_DEVICES": "GPU-7"}, nvml=nvml)
    assert [(gpu.index, gpu.vendor) for gpu in found.gpus] == [(0, "nvidia"), (1, "amd")]


def test_a_pytorch_of_either_vendor_is_told_of_the_plan_s_gpus_alone() -> None:
    """HIP counts what ROCm's runtime leaves it."""
    environment = visible_to_pytorch(UUIDS)
    assert environment["ROCR_VISIBLE_DEVICES"] == environment["CUDA_VISIBLE_DEVICES"] == ",".join(UUIDS)
    assert environment["HIP_VISIBLE_DEVICES"] == "0,1"
    assert visible_to_pytorch(()) == {}


def test_the_doctor_shows_them_and_asks_for_a_pytorch_of_their_own(machine) -> None:
    found = machine(amd_files(TWO))
    assert "0: AMD Instinct MI300X, gfx942, 191.8 GiB free of 192 GiB" in check_gpu(found).found
    assert "CUDA" not in check_gpu(found).found
    assert list(check_nvidia(found)) == []
    assert [check.status for check in doctor.check_amd(found, "amd")] == ["ok"]
    for built_for, words in (("nvidia", "is for nvidia"), ("", "not installed")):
        (check,) = doctor.check_amd(found, built_for)
        assert (check.status, words in check.found) == ("warning", True)


@pytest.mark.parametrize(
    ("lines", "vendor"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'", "amd"),
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None", "nvidia"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None", "cpu"),
    ],
)
def test_whose_gpus_a_pytorch_drives(lines: str, vendor: str, tmp_path: Path) -> None:
    version = tmp_path / "version.py"
    version.write_text(f"__version__ = '2.13.0'\n{lines}\n")
    assert vendor_of(version) == vendor
