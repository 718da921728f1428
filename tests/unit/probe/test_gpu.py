"""The GPU probe against NVML of machines that are not here."""

from __future__ import annotations

import pytest

from stoker.probe.gpu import FoundGpus, probe_gpus
from stoker.probe.machine import Cpu

GIB = 1 << 30
CPU = Cpu("aarch64", "Cortex-X925", 20, None, 119 * GIB, 60 * GIB, 50 * GIB, ("neon",))


@pytest.fixture
def probe(fake_nvml):
    """Probes a fake, and checks that NVML was closed again."""

    def run(*gpus, environ=None, **fake):
        nvml = fake_nvml.FakeNvml(*gpus, **fake)
        found = probe_gpus(CPU, environ or {}, nvml)
        assert nvml.open == 0
        return found

    return run


@pytest.fixture
def four(fake_nvml):
    uuids = ("GPU-aaaa1111", "GPU-aaaa2222", "GPU-bbbb3333", "GPU-cccc4444")
    return [fake_nvml.FakeGpu(uuid) for uuid in uuids]


def divided(fake_nvml):
    """A GPU with two instances of seven, as a container with both sees it."""
    instances = {
        number: fake_nvml.FakeGpu(
            f"MIG-{number}000-uuid",
            name="NVIDIA A100-SXM4-80GB MIG 1g.10gb",
            total=10 * GIB,
            free=9 * GIB,
            failing={"nvmlDeviceGetPciInfo": fake_nvml.NOT_SUPPORTED},
        )
        for number in (1, 4)
    }
    return fake_nvml.FakeGpu("GPU-dddd5555", name="NVIDIA A100-SXM4-80GB", capability=(8, 0), mig=instances)


def test_error_correction_and_running_programs(probe, fake_nvml):
    found = probe(
        fake_nvml.FakeGpu("GPU-1", ecc=True, processes=2),
        fake_nvml.FakeGpu("GPU-2", ecc=False),
        fake_nvml.FakeGpu("GPU-3", ecc=None),
    )
    assert [(gpu.ecc, gpu.processes) for gpu in found.gpus] == [(True, 2), (False, 0), (None, 0)]
    assert found.notes == ()


def test_two_different_gpus_and_a_busy_one(probe, fake_nvml):
    found = probe(
        fake_nvml.FakeGpu("GPU-1", bus_id="00000000:01:00.0"),
        fake_nvml.FakeGpu("GPU-2", name="NVIDIA L4", total=22 * GIB, free=1 * GIB, capability=(8, 9)),
    )
    first, second = found.gpus
    assert (first.index, first.uuid, first.name) == (0, "GPU-1", "NVIDIA H100 80GB HBM3")
    assert (first.memory_total, first.memory_free, first.compute_capability) == (80 * GIB, 79 * GIB, (9, 0))
    assert (first.pci_bus_id, first.is_mig, first.unified_memory) == ("00000000:01:00.0", False, False)
    assert (second.index, second.memory_free, second.compute_capability) == (1, 1 * GIB, (8, 9))
    assert (found.driver, found.cuda, found.notes) == ("580.159.03", "13.0", ())


@pytest.mark.parametrize(
    ("error", "note"),
    [
        ("LIBRARY_NOT_FOUND", "the driver's library libnvidia-ml.so.1 is not here"),
        ("DRIVER_NOT_LOADED", "the driver is not loaded"),
        ("NO_PERMISSION", "no permission to use the driver"),
        ("VERSION_MISMATCH", "NVML does not start: RM has detected an NVML/RM version mismatch."),
    ],
)
def test_no_driver_is_no_gpu_and_a_note(probe, fake_nvml, error, note):
    found = probe(failing={"nvmlInit": getattr(fake_nvml, error)})
    assert found == FoundGpus(notes=(f"no NVIDIA GPU: {note}",))


def test_no_driver_on_this_machine_or_a_real_one_does_not_fail():
    found = probe_gpus(CPU, {})
    assert found.gpus or found.driver or found.notes


def test_nvlink_peers(probe, four):
    found = probe(*four, nvlinks=frozenset({(0, 1), (0, 2)}))
    assert [gpu.nvlink_peers for gpu in found.gpus] == [(1, 2), (0,), (0,), ()]


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ("OK", ""),
        ("CHIPSET_NOT_SUPPORTED", "the chipset does not support it"),
        ("GPU_NOT_SUPPORTED", "these GPUs do not support it"),
        ("IOH_TOPOLOGY_NOT_SUPPORTED", "the PCIe topology does not support it"),
        ("DISABLED_BY_REGKEY", "the driver's settings turn it off"),
    ],
)
def test_gpus_that_read_each_other_over_pcie(probe, four, fake_nvml, status, fault):
    found = probe(*four[:3], nvlinks=frozenset({(0, 1)}), p2p=getattr(fake_nvml.pynvml, f"NVML_P2P_STATUS_{status}"))
    assert [gpu.nvlink_peers for gpu in found.gpus] == [(1,), (0,), ()]
    assert [gpu.p2p_peers for gpu in found.gpus] == ([(1,), (0,), ()] if fault else [(1, 2), (0, 2), (0, 1)])
    assert (found.p2p_fault, found.notes) == (fault, ())


def test_persistence_mode(probe, fake_nvml):
    gpus = [fake_nvml.FakeGpu(f"GPU-{number}", persistence=mode) for number, mode in enumerate((True, False, None))]
    assert [gpu.persistence for gpu in probe(*gpus).gpus] == [True, False, None]


def test_nvlink_peers_follow_the_visible_order(probe, four):
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-aaaa2,GPU-aaaa1,GPU-bbbb"}
    found = probe(*four, nvlinks=frozenset({(1, 2), (2, 1)}), environ=environ)
    assert [gpu.nvlink_peers for gpu in found.gpus] == [(2,), (), (0,)]


def test_mig_instances_are_devices_of_their_own(probe, fake_nvml):
    found = probe(divided(fake_nvml), fake_nvml.FakeGpu("GPU-2"), nvlinks=frozenset({(0, 1)}))
    assert [(gpu.uuid, gpu.is_mig, gpu.memory_total, gpu.index) for gpu in found.gpus] == [
        ("MIG-1000-uuid", True, 10 * GIB, 0),
        ("MIG-4000-uuid", True, 10 * GIB, 1),
        ("GPU-2", False, 80 * GIB, 2),
    ]
    assert found.gpus[0].name == "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
    assert all(gpu.nvlink_peers == () for gpu in found.gpus)


def test_mig_without_an_instance_is_left_out_with_a_note(probe, fake_nvml):
    found = probe(fake_nvml.FakeGpu("GPU-1", mig={}))
    assert found.gpus == ()
    assert found.notes == ("GPU 0 (NVIDIA H100 80GB HBM3) is left out: MIG is on and no instance is visible here",)


@pytest.mark.parametrize("failing", [{"nvmlDeviceGetMemoryInfo"}, set()], ids=["not supported", "total of 0"])
def test_unified_memory_is_the_hosts(probe, fake_nvml, failing):
    codes = dict.fromkeys(failing | {"nvmlDeviceGetMigMode"}, fake_nvml.NOT_SUPPORTED)
    gb10 = fake_nvml.FakeGpu("GPU-1", name="NVIDIA GB10", total=0, free=0, capability=(12, 1), failing=codes)
    found = probe(gb10)
    gpu = found.gpus[0]
    assert (gpu.unified_memory, gpu.memory_total, gpu.memory_free) == (True, 119 * GIB, 50 * GIB)
    assert found.notes == ("GPU 0 (NVIDIA GB10) has no memory of its own: it shares the host's",)


def test_memory_of_a_virtual_gpu_that_does_not_tell_stays_unknown(probe, fake_nvml):
    failing = {"nvmlDeviceGetMemoryInfo": fake_nvml.NOT_SUPPORTED}
    found = probe(fake_nvml.FakeGpu("GPU-1", name="GRID A100-10C", virtual=True, failing=failing))
    assert (found.gpus[0].unified_memory, found.gpus[0].memory_total) == (False, 0)
    assert found.notes == ("GPU 0 (GRID A100-10C): the memory of this virtual GPU is not known",)


def test_an_old_driver_lacks_functions(probe, fake_nvml):
    lacking = ("nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetMigMode", "nvmlDeviceGetP2PStatus")
    found = probe(
        fake_nvml.FakeGpu("GPU-1"),
        fake_nvml.FakeGpu("GPU-2"),
        failing=dict.fromkeys(lacking, fake_nvml.FUNCTION_NOT_FOUND),
    )
    assert (len(found.gpus), found.cuda) == (2, "11.4")
    assert found.notes == ("NVLink and P2P between GPUs are not known: Function Not Found",)


@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        ("nvmlDeviceGetName", "name", "NVIDIA GPU"),
        ("nvmlDeviceGetUUID", "uuid", ""),
        ("nvmlDeviceGetPciInfo", "pci_bus_id", ""),
        ("nvmlDeviceGetCudaComputeCapability", "compute_capability", (0, 0)),
    ],
)
@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "FUNCTION_NOT_FOUND", "NO_PERMISSION", "UNKNOWN"])
def test_each_failure_costs_its_field_and_leaves_a_note(probe, fake_nvml, function, field, value, error):
    found = probe(fake_nvml.FakeGpu("GPU-1", failing={function: getattr(fake_nvml, error)}))
    assert getattr(found.gpus[0], field) == value
    assert len(found.notes) == 1
    assert "is not known" in found.notes[0]


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetHandleByIndex",
        "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetMigMode",
    ],
)
def test_a_lost_gpu_is_left_out_and_the_others_stay(probe, fake_nvml, function):
    lost = fake_nvml.FakeGpu("GPU-1", failing={function: fake_nvml.GPU_IS_LOST})
    found = probe(lost, fake_nvml.FakeGpu("GPU-2"))
    assert [(gpu.uuid, gpu.index) for gpu in found.gpus] == [("GPU-2", 0)]
    assert found.notes == ("GPU 0 is left out: GPU is lost",)


@pytest.mark.parametrize("error", ["UNKNOWN", "GPU_IS_LOST"])
@pytest.mark.parametrize("function", ["nvmlDeviceGetCount", "nvmlSystemGetDriverVersion", "nvmlShutdown"])
def test_failures_of_the_system_calls_do_not_crash(fake_nvml, function, error):
    nvml = fake_nvml.FakeNvml(fake_nvml.FakeGpu("GPU-1"), failing={function: getattr(fake_nvml, error)})
    found = probe_gpus(CPU, {}, nvml)
    assert found.gpus or found.notes


@pytest.mark.parametrize(
    ("environ", "uuids"),
    [
        ({}, "1111 2222 3333 4444"),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, "3333 1111"),
        ({"CUDA_VISIBLE_DEVICES": "0,2,-1,1"}, "1111 3333"),
        ({"CUDA_VISIBLE_DEVICES": "0,9,1"}, "1111"),
        ({"CUDA_VISIBLE_DEVICES": "1,1"}, "2222"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb3333"}, "3333"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b, GPU-c"}, "3333 4444"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}, ""),
        ({"CUDA_VISIBLE_DEVICES": ""}, ""),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ""),
        ({"CUDA_VISIBLE_DEVICES": "none"}, ""),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, "1111 2222 3333 4444"),
        ({"NVIDIA_VISIBLE_DEVICES": ""}, "1111 2222 3333 4444"),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, "1111 2222 3333 4444"),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, ""),
        ({"NVIDIA_VISIBLE_DEVICES": "1,3"}, "2222 4444"),
        ({"NVIDIA_VISIBLE_DEVICES": "4,5,6,7"}, "1111 2222 3333 4444"),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-bbbb3333"}, "3333"),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-of-another-host"}, "1111 2222 3333 4444"),
        ({"NVIDIA_VISIBLE_DEVICES": "1,3", "CUDA_VISIBLE_DEVICES": "1"}, "4444"),
    ],
)
def test_visible_devices(probe, four, environ, uuids):
    assert " ".join(gpu.uuid[-4:] for gpu in probe(*four, environ=environ).gpus) == uuids


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("0", ["MIG-1000-uuid", "MIG-4000-uuid"]),
        ("MIG-4000-uuid", ["MIG-4000-uuid"]),
        ("MIG-1", ["MIG-1000-uuid"]),
        ("GPU-dddd", ["MIG-1000-uuid", "MIG-4000-uuid"]),
        ("0:1", ["MIG-4000-uuid"]),
        ("1,MIG-4", ["GPU-2", "MIG-4000-uuid"]),
    ],
)
def test_visible_mig_devices(probe, fake_nvml, visible, uuids):
    found = probe(divided(fake_nvml), fake_nvml.FakeGpu("GPU-2"), environ={"CUDA_VISIBLE_DEVICES": visible})
    assert [gpu.uuid for gpu in found.gpus] == uuids


def test_hidden_gpus_leave_a_note(probe, four):
    assert probe(*four, environ={"CUDA_VISIBLE_DEVICES": "-1"}).notes[0] == "CUDA_VISIBLE_DEVICES=-1 hides every GPU"
    assert "names no further GPU" in probe(*four, environ={"CUDA_VISIBLE_DEVICES": "GPU-x"}).notes[0]
    assert probe(*four, environ={"NVIDIA_VISIBLE_DEVICES": "none"}).notes == (
        "NVIDIA_VISIBLE_DEVICES=none hides every GPU",
    )


def test_numbers_mean_pci_order_and_say_so(probe, four):
    assert "PCI order" in probe(*four, environ={"CUDA_VISIBLE_DEVICES": "1"}).notes[0]
    both = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert probe(*four, environ=both).notes == ()
