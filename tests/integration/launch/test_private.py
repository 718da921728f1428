"""Nobody else on the machine reaches the engine: docs/security.md."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import Generation
from stoker.launch.server import GRPC_SOCKET, METRICS_SOCKET
from stoker.launch.shared_memory import SHARED_MEMORY, owner_prefix
from stoker.launch.supervisor import Patience, Supervisor
from stoker.processes import session_members

SECRETS = {
    **dict.fromkeys(("STOKER_API_KEY", "HF_TOKEN", "NGC_API_KEY", "AWS_SECRET_ACCESS_KEY", "VLLM_API_KEY"), "sesame"),
    **dict.fromkeys(("MY_DATABASE", "AZURE_STORAGE_CONNECTION_STRING", "COSIGN_PASSWORD", "CUDA_TOKEN"), "sesame"),
    "OV_PROXY": "http://me:sesame@proxy:3128",
}
OPEN_BY_OTHER_USER = """\
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except PermissionError:
        continue
    sys.exit(f"{path} is open to all")
"""


def paths(supervisor: Supervisor) -> list[Path]:
    assert supervisor.run_directory
    return [supervisor.run_directory, *supervisor.run_directory.rglob("*")]


def pids(supervisor: Supervisor) -> list[int]:
    assert supervisor.server_pid
    return [*session_members(supervisor.server_pid), supervisor.stub_pid or 0]


def test_the_run_directory_and_the_shared_memory_are_the_users_alone(supervisor):
    regions = [path for path in SHARED_MEMORY.iterdir() if path.name.startswith(owner_prefix())]
    assert regions
    for path in (supervisor.run_directory, *regions):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert path.stat().st_uid == os.geteuid()


def test_the_server_listens_on_no_port(supervisor):
    inodes = {str(fd.readlink()) for pid in pids(supervisor) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in inodes, line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect(supervisor):
    sockets = [str(path) for path in paths(supervisor) if stat.S_ISSOCK(path.stat().st_mode)]
    assert {Path(path).name.split(":")[0] for path in sockets} == {GRPC_SOCKET, METRICS_SOCKET}
    subprocess.run([sys.executable, "-c", OPEN_BY_OTHER_USER, *sockets], check=True, timeout=60)


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("SystemSharedMemoryRegister", service_pb2.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=64)),
        ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest()),
        ("CudaSharedMemoryRegister", service_pb2.CudaSharedMemoryRegisterRequest(name="x", byte_size=64)),
        ("RepositoryIndex", service_pb2.RepositoryIndexRequest()),
        ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="tensorrt_llm")),
        ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name="tensorrt_llm")),
        ("ModelConfig", service_pb2.ModelConfigRequest(name="tensorrt_llm")),
        ("TraceSetting", service_pb2.TraceSettingRequest()),
        ("LogSettings", service_pb2.LogSettingsRequest()),
    ],
)
def test_protocols_that_we_do_not_use_are_closed_to_us_too(supervisor, call, request_):
    with grpc.insecure_channel(supervisor.address) as channel, pytest.raises(grpc.RpcError) as refused:
        getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), call)(request_, timeout=10)
    assert "protocol is restricted" in refused.value.details()


def test_the_engines_processes_inherit_no_secret(loop, harness, settings_of, tiny_engine, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("ONLY_THIS", "passed on")
    monkeypatch.setenv("STOKER_ENGINE_ENVIRONMENT", "ONLY_THIS")
    supervisor = Supervisor(python_engine(settings_of(tiny_engine)), Patience(heartbeat=3600))
    try:
        loop.run(supervisor.start())
        for pid in pids(supervisor):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"sesame" not in environment
            assert b"OMP_WAIT_POLICY=passive" in environment
            assert b"ONLY_THIS=passed on" in environment
    finally:
        loop.run(supervisor.stop())


def test_a_run_directory_with_a_long_name_in_any_script_serves(
    loop, harness, settings_of, tiny_engine, tmp_path, monkeypatch
):
    """A socket's own name holds 108 bytes."""
    folder = tmp_path / ("лёгкий %41 " * 8)
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    supervisor = Supervisor(python_engine(settings_of(tiny_engine)), Patience(heartbeat=3600))
    try:
        loop.run(supervisor.start())
        assert supervisor.run_directory
        assert supervisor.run_directory.parent == folder
        assert loop.run(harness.tokens(supervisor.client, Generation("1", (5, 6, 7), max_tokens=3)))
        assert loop.run(supervisor.client.state()).kv_blocks_total
    finally:
        loop.run(supervisor.stop())
    assert not [*folder.iterdir()]


def test_what_another_user_left_under_our_names_is_not_touched(tmp_path, monkeypatch):
    from stoker.launch import shared_memory

    gone = subprocess.Popen(["true"])
    gone.wait()
    theirs = tmp_path / owner_prefix().replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    theirs.mkdir()
    assert [*shared_memory.stale(tmp_path)] == [theirs]
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
        assert [*shared_memory.stale(tmp_path)] == []
