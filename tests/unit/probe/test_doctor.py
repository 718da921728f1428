from __future__ import annotations

import os
import socket
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.kinds.openvino import KIND
from stoker.probe.checks import storage
from stoker.probe.checks.gpu import check_gpu
from stoker.probe.checks.network import check_port
from stoker.probe.checks.processor import check_cores, check_cpu, check_memory
from stoker.probe.checks.software import check_glibc, check_python
from stoker.probe.checks.storage import check_cache, check_disk, check_filesystem, check_shared_memory
from stoker.probe.description import load_description
from stoker.probe.doctor import Check, render_checks, run_checks
from stoker.probe.libpython import find_libpython, libpython_name
from stoker.probe.machine import Machine

GIB = 1 << 30
CPU = load_description("cpu:4c-16g-avx512_bf16").cpu


def test_all_checks_run_here_and_leave_nothing_behind(tmp_path):
    cache = tmp_path / "not" / "yet"
    checks = run_checks(cache, 0, "127.0.0.1", [KIND.checks], Machine("m", CPU))
    assert [check.name for check in checks] == [
        "CPU features",
        "cores",
        "memory",
        "GPU",
        "shared memory",
        "cache",
        "file system",
        "disk",
        "port",
        "Python",
        "libpython",
        "C library",
        "Triton",
        "OpenVINO",
    ]
    assert all(check.remedy for check in checks if check.status != "ok")
    assert list(tmp_path.iterdir()) == []


def test_rendering_has_a_line_a_check_and_a_line_a_remedy():
    text = render_checks((Check("a", "ok", "fine"), Check("longer", "failed", "not fine", "fix it")))
    assert text == "ok       a       fine\nfailed   longer  not fine\n                 -> fix it\n"


@pytest.mark.parametrize(
    ("architecture", "isa", "status", "said"),
    [
        ("x86_64", ("avx2",), "ok", "f32 arithmetic only"),
        ("x86_64", ("avx2", "avx_vnni"), "ok", "int8 in hardware"),
        ("x86_64", CPU.isa, "ok", "int8 and bf16 in hardware"),
        ("x86_64", (), "failed", "none that matter"),
        ("aarch64", ("neon",), "ok", "f32 arithmetic only"),
        ("aarch64", (), "failed", "none that matter"),
        ("riscv64", (), "failed", "riscv64"),
    ],
)
def test_cpu_features(architecture, isa, status, said):
    check = check_cpu(replace(CPU, architecture=architecture, isa=isa))
    assert check.status == status
    assert said in check.found


def test_cores_and_memory_within_limits():
    assert check_cores(replace(CPU, core_quota=0.5)).status == "warning"
    assert check_cores(replace(CPU, core_quota=2.5)).status == "ok"
    assert check_memory(CPU) == Check("memory", "ok", "16 GiB free of 16 GiB")
    limited = check_memory(replace(CPU, memory_limit=3 * GIB, memory_available=GIB))
    assert limited.status == "warning"
    assert limited.found == "1 GiB free of 3 GiB, the limit here; the host has 16 GiB"
    assert "container's memory limit" in limited.remedy
    assert "stop other programs" in check_memory(replace(CPU, memory_available=GIB)).remedy


def test_dockers_default_shared_memory_is_little_and_less_is_too_little(tree):
    root = tree({"/dev/shm/x": ""})
    check = check_shared_memory(64 << 20, root)
    assert check.status == "warning"
    assert check_shared_memory(8 << 20, root).status == "failed"
    assert "--shm-size=1g" in check.remedy
    assert check_shared_memory(0, root).status == "failed"
    assert "64 MiB" in check.found


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    assert check_cache(tmp_path) == Check("cache", "ok", str(tmp_path))
    assert check_cache(tmp_path / "a" / "b").found == f"{tmp_path}/a/b can be made"
    (tmp_path / "file").write_text("")
    assert check_cache(tmp_path / "file" / "b").status == "failed"

    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)
    check = check_cache(tmp_path)
    assert check.status == "failed"
    assert f"this process is user {os.geteuid()}" in check.found


@pytest.mark.parametrize(
    ("filesystem", "status"),
    [("ext4", "ok"), ("xfs", "ok"), ("nfs4", "warning"), ("overlay", "warning"), ("tmpfs", "warning")],
)
def test_file_system_of_the_cache(tree, tmp_path, filesystem, status):
    mounts = f"1 0 8:1 / / rw - btrfs /dev/sda1 rw\n2 1 8:2 / {tmp_path} rw - {filesystem} somewhere rw\n"
    check = check_filesystem(tmp_path / "cache", tree({"/proc/self/mountinfo": mounts}))
    assert check.status == status
    assert check.found.startswith(filesystem)


def test_little_disk_is_a_warning(tmp_path, monkeypatch):
    assert check_disk(tmp_path / "not" / "yet").found.endswith("iB")
    monkeypatch.setattr(storage, "_LEAST_DISK", 1 << 70)
    assert check_disk(tmp_path).status == "warning"


def test_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = check_port("127.0.0.1", port)
    assert check.status == "failed"
    assert "--port" in check.remedy
    assert check_port("127.0.0.1", 0).status == "ok"
    assert "--host" in check_port("192.0.2.1", 0).remedy


def test_gpu_driver(tree):
    root = tree({})
    assert check_gpu(Machine("m", CPU), root).status == "ok"
    described = load_description("2xL4")
    assert check_gpu(replace(described, driver="580.1", cuda="13.0"), root).found.startswith("0: NVIDIA L4, SM 8.9")
    hidden = Machine("m", CPU, driver="580.1", notes=("CUDA_VISIBLE_DEVICES=-1 hides every GPU",))
    assert check_gpu(hidden, root).status == "warning"


def test_device_nodes_without_a_driver_library_are_a_missing_toolkit(tree):
    root = tree({"/dev/nvidia0": "", "/dev/nvidiactl": ""})
    check = check_gpu(Machine("m", CPU, notes=("no NVIDIA GPU: the driver's library is not here",)), root)
    assert check.status == "failed"
    assert "Container Toolkit" in check.remedy


def test_a_driver_in_the_kernel_alone_is_a_container_without_gpus(tree):
    root = tree({"/proc/driver/nvidia/version": "NVRM"})
    assert "--gpus all" in check_gpu(Machine("m", CPU), root).remedy


@pytest.mark.parametrize(
    ("running", "status"), [((3, 9), "failed"), ((3, 10), "ok"), ((3, 12), "ok"), ((3, 13), "failed")]
)
def test_python_versions(running, status):
    assert check_python(running).status == status


@pytest.mark.parametrize(
    ("library", "status"),
    [(("glibc", "2.35"), "ok"), (("glibc", "2.41"), "ok"), (("glibc", "2.31"), "failed"), (("", ""), "failed")],
)
def test_c_libraries(library, status):
    assert check_glibc(library).status == status


def test_libpython_is_found_where_the_linker_looks(tree):
    root = tree({"/etc/ld.so.conf.d/mine.conf": "# mine\n/opt/mine/lib\n"})
    assert find_libpython(root) is None
    library = root / "opt/mine/lib" / libpython_name()
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    assert find_libpython(root) == library


def test_libpython_of_a_system_python_is_found(tree):
    folder = Path("usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
    root = tree({f"/{folder}/{libpython_name()}": ""})
    assert find_libpython(root) == root / folder / libpython_name()
