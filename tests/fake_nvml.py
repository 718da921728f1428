"""NVML as machines that are not here would answer, at the boundary of the module pynvml.

Errors and constants are pynvml's own. A test describes GPUs and what fails on them; a name in `failing` makes that
function raise for the GPU (or, in FakeNvml's own `failing`, for every call).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 1 << 30
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
FUNCTION_NOT_FOUND = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
GPU_IS_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
LIBRARY_NOT_FOUND = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
DRIVER_NOT_LOADED = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION
VERSION_MISMATCH = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
UNKNOWN = pynvml.NVML_ERROR_UNKNOWN


@dataclass(frozen=True)
class FakeGpu:
    """`mig` holds the instances by number, None where MIG is off; `failing` maps function names to error codes."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    total: int = 80 * GIB
    free: int = 79 * GIB
    capability: tuple[int, int] = (9, 0)
    bus_id: str = "00000000:07:00.0"
    mig: Mapping[int, FakeGpu] | None = None
    virtual: bool = False
    ecc: bool | None = True
    processes: int = 0
    persistence: bool | None = True
    failing: Mapping[str, int] = field(default_factory=dict)


class FakeNvml:
    """Stands for the module pynvml; `nvlinks` are pairs of positions, `p2p` the status of reading over PCIe, `driver`
    and `cuda` what the driver says of itself. Counts that what was opened is closed."""

    def __init__(
        self,
        *gpus: FakeGpu,
        nvlinks: frozenset[tuple[int, int]] = frozenset(),
        failing: Mapping[str, int] | None = None,
        p2p: int = pynvml.NVML_P2P_STATUS_OK,
        driver: str = "580.159.03",
        cuda: int = 13000,
    ) -> None:
        self.gpus = gpus
        self.nvlinks = nvlinks
        self.failing = failing or {}
        self.p2p, self.driver, self.cuda = p2p, driver, cuda
        self.open = 0

    def __getattr__(self, name: str) -> Any:
        """Errors and constants; a function of pynvml that is not faked here is a mistake of the test's."""
        if name.startswith("nvml"):
            raise AssertionError(f"fake_nvml has no {name}")
        return getattr(pynvml, name)

    def _answer(self, name: str, answer: Callable[[], Any], gpu: FakeGpu | None = None) -> Any:
        assert self.open > 0, f"{name} was called before nvmlInit"
        code = self.failing.get(name) or (gpu.failing.get(name) if gpu else None)
        if code:
            raise pynvml.NVMLError(code)
        return answer()

    def nvmlInit(self) -> None:
        if "nvmlInit" in self.failing:
            raise pynvml.NVMLError(self.failing["nvmlInit"])
        self.open += 1

    def nvmlShutdown(self) -> None:
        self._answer("nvmlShutdown", lambda: None)
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._answer("nvmlSystemGetDriverVersion", lambda: self.driver)

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self._answer("nvmlSystemGetCudaDriverVersion", lambda: 11040)

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self._answer("nvmlSystemGetCudaDriverVersion_v2", lambda: self.cuda)

    def nvmlDeviceGetCount(self) -> int:
        return self._answer("nvmlDeviceGetCount", lambda: len(self.gpus))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._answer("nvmlDeviceGetHandleByIndex", lambda: self.gpus[index], self.gpus[index])

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return self._answer("nvmlDeviceGetName", lambda: gpu.name, gpu)

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return self._answer("nvmlDeviceGetUUID", lambda: gpu.uuid, gpu)

    def nvmlDeviceGetPciInfo(self, gpu: FakeGpu) -> Any:
        return self._answer("nvmlDeviceGetPciInfo", lambda: SimpleNamespace(busId=gpu.bus_id), gpu)

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Any:
        memory = SimpleNamespace(total=gpu.total, free=gpu.free, used=gpu.total - gpu.free)
        return self._answer("nvmlDeviceGetMemoryInfo", lambda: memory, gpu)

    def nvmlDeviceGetCudaComputeCapability(self, gpu: FakeGpu) -> tuple[int, int]:
        return self._answer("nvmlDeviceGetCudaComputeCapability", lambda: gpu.capability, gpu)

    def nvmlDeviceGetVirtualizationMode(self, gpu: FakeGpu) -> int:
        mode = pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU if gpu.virtual else pynvml.NVML_GPU_VIRTUALIZATION_MODE_NONE
        return self._answer("nvmlDeviceGetVirtualizationMode", lambda: mode, gpu)

    def nvmlDeviceGetEccMode(self, gpu: FakeGpu) -> list[int]:
        if gpu.ecc is None:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        ecc = int(gpu.ecc)
        return self._answer("nvmlDeviceGetEccMode", lambda: [ecc, ecc], gpu)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        running = [SimpleNamespace(pid=100 + number, usedGpuMemory=GIB) for number in range(gpu.processes)]
        return self._answer("nvmlDeviceGetComputeRunningProcesses", lambda: running, gpu)

    def nvmlDeviceGetPersistenceMode(self, gpu: FakeGpu) -> int:
        if gpu.persistence is None:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        persistence = int(gpu.persistence)
        return self._answer("nvmlDeviceGetPersistenceMode", lambda: persistence, gpu)

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        on = int(gpu.mig is not None)
        return self._answer("nvmlDeviceGetMigMode", lambda: [on, on], gpu)

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetMaxMigDeviceCount", lambda: 7, gpu)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:
        found = (gpu.mig or {}).get(index)
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._answer("nvmlDeviceGetMigDeviceHandleByIndex", lambda: found, gpu)

    def nvmlDeviceGetP2PStatus(self, first: FakeGpu, second: FakeGpu, index: int) -> int:
        """Takes the index as ctypes does: pynvml's NVML_P2P_CAPS_INDEX_READ is a tuple, which a real call refuses."""
        ctypes.c_int(index)
        pair = (self.gpus.index(first), self.gpus.index(second))
        over_pcie = {pynvml.NVML_P2P_CAPS_INDEX_NVLINK: pynvml.NVML_P2P_STATUS_NOT_SUPPORTED, 0: self.p2p}
        status = pynvml.NVML_P2P_STATUS_OK if pair in self.nvlinks else over_pcie[index]
        return self._answer("nvmlDeviceGetP2PStatus", lambda: status, first)
