from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.probe.description import dump_description, load_description, products
from stoker.probe.machine import Cpu, Gpu, Machine
from stoker.probe.probe import probe_machine

GIB = 1 << 30
MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "count", "name", "capability", "reported_mib", "nvlink"),
    [
        ("8xH100-80GB", 8, "NVIDIA H100 80GB HBM3", (9, 0), 81559, True),
        ("1xL4", 1, "NVIDIA L4", (8, 9), 23034, False),
        ("2xRTX-4090", 2, "NVIDIA GeForce RTX 4090", (8, 9), 24564, False),
        ("4xA10G", 4, "NVIDIA A10G", (8, 6), 23028, False),
        ("1xT4", 1, "Tesla T4", (7, 5), 15360, False),
        ("1xH200", 1, "NVIDIA H200", (9, 0), 143771, True),
        ("8xB200", 8, "NVIDIA B200", (10, 0), 183359, True),
        ("1xRTX-PRO-6000", 1, "NVIDIA RTX PRO 6000 Blackwell", (12, 0), 97887, False),
        ("h100", 1, "NVIDIA H100 80GB HBM3", (9, 0), 81559, True),
        ("2 x rtx pro_6000", 2, "NVIDIA RTX PRO 6000 Blackwell", (12, 0), 97887, False),
    ],
)
def test_gpus_by_name(text, count, name, capability, reported_mib, nvlink):
    """Memory is at most what nvidia-smi shows on such a GPU, and within 1.5 % of it."""
    machine = load_description(text)
    assert [gpu.index for gpu in machine.gpus] == list(range(count))
    assert len({gpu.uuid for gpu in machine.gpus}) == count
    for gpu in machine.gpus:
        assert (gpu.name, gpu.compute_capability, gpu.unified_memory) == (name, capability, False)
        assert 0.985 * reported_mib < gpu.memory_total / MIB <= reported_mib
        assert gpu.memory_free == gpu.memory_total
        assert len(gpu.nvlink_peers) == (count - 1 if nvlink else 0)
        assert gpu.index not in gpu.nvlink_peers


@pytest.mark.parametrize(("text", "sheet"), [("GB10", 128), ("Thor", 128), ("Orin-64GB", 64), ("1xOrin-Nano-8GB", 8)])
def test_unified_machines_share_one_memory(text, sheet):
    machine = load_description(text)
    assert machine.cpu.architecture == "aarch64"
    assert machine.gpus[0].unified_memory
    assert machine.gpus[0].memory_total == machine.cpu.memory_total
    assert 0.9 * sheet * GIB < machine.cpu.memory_total < sheet * GIB


@pytest.mark.parametrize(
    ("text", "cores", "memory", "architecture", "isa"),
    [
        ("cpu:16c-64g", 16, 64, "x86_64", ("avx2",)),
        ("cpu:2c-4g-avx512_bf16", 2, 4, "x86_64", ("avx2", "avx512", "avx512_vnni", "avx512_bf16")),
        ("CPU:8C-32G-avx_vnni", 8, 32, "x86_64", ("avx2", "avx_vnni")),
        ("cpu:4c-8g-neon", 4, 8, "aarch64", ("neon",)),
        ("cpu:64c-256g-sve-asimd_bf16", 64, 256, "aarch64", ("neon", "sve", "asimd_bf16")),
    ],
)
def test_processors(text, cores, memory, architecture, isa):
    machine = load_description(text)
    assert machine.gpus == ()
    assert (machine.cpu.cores, machine.cpu.memory_limit) == (cores, memory * GIB)
    assert (machine.cpu.architecture, machine.cpu.isa) == (architecture, isa)


def test_gpus_and_processor_together():
    machine = load_description("2xL4, cpu:8c-32g")
    assert (len(machine.gpus), machine.cpu.cores, machine.cpu.memory_total) == (2, 8, 32 * GIB)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8xH10", "did you mean H100?"),
        ("RTX-4091", "did you mean RTX-4090?"),
        ("", "is not understood"),
        ("0xL4", "is not understood"),
        ("L4,T4", "is not understood"),
        ("zzz", "write 8xH100-80GB"),
        ("cpu:0c-1g", "write cpu:16c-64g"),
        ("cpu:4c-8g-avx513", "did you mean avx512?"),
        ("cpu:4c-8g-avx2-neon", "x86 and Arm extensions together"),
        ("2xGB10", "a machine has one NVIDIA GB10"),
        ("x" * 5000, "is not understood"),
        ("nowhere.yaml", "No such file or directory"),
    ],
)
def test_what_is_not_understood_is_refused(text, said):
    with pytest.raises(UsageError) as caught:
        load_description(text)
    assert said in str(caught.value)


def test_every_product_is_complete_and_has_a_source():
    for product in products().values():
        assert product.source.startswith("https://")
        assert product.memory > 0
        assert product.capability.replace(".", "").isdigit()
        assert bool(product.cores) == bool(product.cpu) == product.unified
    for name in products():
        assert load_description(name).gpus, name


def test_descriptions_round_trip(tmp_path):
    path = tmp_path / "machine.yaml"
    odd = Machine(
        name="ünusual: [name]",
        cpu=Cpu("x86_64", "cpu", 3, 2.5, 4, 3, 2, ("avx2",), 2, 3),
        gpus=(Gpu(0, "MIG-1", "g", "0000:01", 5, 4, (8, 0), True, (), False), Gpu(1, "", "", "", 0, 0, (0, 0))),
        driver="580.1",
        cuda="13.0",
        shared_memory=7,
        notes=("one", "two: 2"),
    )
    for machine in (odd, probe_machine(), load_description("8xH100-80GB"), load_description("GB10")):
        path.write_text(dump_description(machine), encoding="utf-8")
        assert load_description(str(path)) == machine


def test_a_file_by_hand_may_leave_out_defaults_and_write_units(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ncpu: {architecture: x86_64, name: c, cores: 4, core_quota: null, memory_total: 16GiB, "
        "memory_limit: 8 GiB, memory_available: 512MiB, isa: [avx2]}\n"
    )
    machine = load_description(str(path))
    assert (machine.cpu.memory_total, machine.cpu.memory_limit) == (16 * GIB, 8 * GIB)
    assert (machine.cpu.memory_available, machine.gpus, machine.cpu.numa_nodes) == (512 * MIB, (), 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "the machine must be a mapping"),
        ("name: x", "cpu is missing"),
        ("name: x\ncpu: {}", "cpu.architecture is missing"),
        ("name: x\ncpu: 4", "cpu must be a mapping"),
        ("nane: x", "unknown field nane (did you mean name?)"),
        ("name: 5\ncpu: {}", "name=5: not text"),
        ("name: x\ngpus: 1\ncpu: {}", "gpus=1: not a list of GPUs"),
        ("a: [", "not YAML"),
    ],
)
def test_a_bad_file_names_itself_and_the_field(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_description(str(path))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cores", "-1", "cpu.cores=-1: not a whole number"),
        ("cores", "true", "cpu.cores=True: not a whole number"),
        ("memory_limit", "8GB", "cpu.memory_limit='8GB': not a whole number"),
        ("core_quota", "0", "cpu.core_quota=0: not a number above 0"),
        ("isa", "avx2", "cpu.isa='avx2': not a list of texts"),
    ],
)
def test_a_bad_field_is_named(tmp_path, field, value, said):
    path = tmp_path / "machine.yaml"
    cpu = {
        "architecture": "x86_64",
        "name": "c",
        "cores": "4",
        "core_quota": "null",
        "memory_total": "8",
        "memory_limit": "8",
        "memory_available": "8",
        "isa": "[avx2]",
    }
    lines = "".join(f"  {key}: {text}\n" for key, text in (cpu | {field: value}).items())
    path.write_text(f"name: x\ncpu:\n{lines}")
    with pytest.raises(UsageError, match="cpu") as caught:
        load_description(str(path))
    assert said in str(caught.value)
