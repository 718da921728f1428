"""Every probed fact beside what nvidia-smi says."""

from __future__ import annotations

import re
import subprocess

import pytest

MIB = 1 << 20
NEAR = 64 * MIB  # nvidia-smi prints whole MiB, and what is free moves between the two readings


def mib(text: str) -> int:
    return int(text.removesuffix(" MiB")) * MIB


def test_names_and_identities(machine, smi) -> None:
    assert [gpu.name for gpu in machine.gpus] == [each.findtext("product_name") for each in smi]
    assert [gpu.uuid for gpu in machine.gpus] == [each.findtext("uuid") for each in smi]
    assert [gpu.pci_bus_id for gpu in machine.gpus] == [each.get("id") for each in smi]


def test_memory_total(machine, smi) -> None:
    expected = [mib(each.findtext("fb_memory_usage/total")) for each in smi]
    assert [gpu.memory_total for gpu in machine.gpus] == pytest.approx(expected, abs=MIB)


def test_memory_free(machine, smi) -> None:
    expected = [mib(each.findtext("fb_memory_usage/free")) for each in smi]
    assert [gpu.memory_free for gpu in machine.gpus] == pytest.approx(expected, abs=NEAR)


def test_modes(machine, smi) -> None:
    ecc = {"Enabled": True, "Disabled": False, "N/A": None}
    assert [gpu.ecc for gpu in machine.gpus] == [ecc[each.findtext("ecc_mode/current_ecc")] for each in smi]
    on = [each.findtext("persistence_mode") == "Enabled" for each in smi]
    assert [gpu.persistence for gpu in machine.gpus] == on
    divided = [each.findtext("mig_mode/current_mig") == "Enabled" for each in smi]
    assert [gpu.is_mig for gpu in machine.gpus] == divided


def test_versions(machine) -> None:
    query = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    rows = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    assert [(machine.driver, "{}.{}".format(*gpu.compute_capability)) for gpu in machine.gpus] == [
        tuple(row.split(", ")) for row in rows
    ]
    assert machine.cuda.split(".")[0].isdigit()


def test_running_programs(machine, smi) -> None:
    computing = [
        [each for each in gpu.findall("processes/process_info") if "C" in each.findtext("type")] for gpu in smi
    ]
    assert [gpu.processes for gpu in machine.gpus] == [len(each) for each in computing]


def test_a_held_tensor_moves_free_memory() -> None:
    """20 GiB taken by PyTorch in a process of its own, seen by the probe while it is held."""
    torch = pytest.importorskip("torch")
    from stoker.probe.probe import probe_machine

    before = probe_machine(environ={}).gpus[0].memory_free
    size = min(20 << 30, before // 2)
    held = torch.empty(size, dtype=torch.uint8, device="cuda:0")
    after = probe_machine(environ={}).gpus[0]
    del held
    torch.cuda.empty_cache()
    assert size <= before - after.memory_free <= size + (2 << 30)  # and the CUDA context


def test_hidden_gpus_stay_hidden(machine) -> None:
    from stoker.probe.probe import probe_machine

    assert probe_machine(environ={"CUDA_VISIBLE_DEVICES": ""}).gpus == ()
    (only,) = probe_machine(environ={"CUDA_VISIBLE_DEVICES": machine.gpus[-1].uuid}).gpus
    assert only.uuid == machine.gpus[-1].uuid


@pytest.mark.parametrize(("capability", "field"), [("n", "nvlink_peers"), ("r", "p2p_peers")])
def test_which_gpus_reach_each_other(machine, capability: str, field: str) -> None:
    """NVLink and reads of each other's memory, as nvidia-smi's matrices have them."""
    answer = subprocess.run(["nvidia-smi", "topo", "-p2p", capability], capture_output=True, text=True, check=True)
    rows = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", answer.stdout).splitlines()]
    matrix = [row[1:] for row in rows if len(row) > 1 and row[0].startswith("GPU") and "X" in row]
    reached = [tuple(index for index, cell in enumerate(row) if cell == "OK") for row in matrix]
    assert [getattr(gpu, field) for gpu in machine.gpus] == reached
