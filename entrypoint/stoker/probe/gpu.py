"""NVIDIA GPUs, by NVML (docs.nvidia.com/deploy/nvml-api) through its Python binding, pynvml.

Any NVML call may fail on some machine: old drivers lack functions, unified-memory and virtual GPUs lack answers, a GPU
falls off the bus. Each costs its field or its device and leaves a note.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeVar

from stoker.probe.machine import Cpu, Gpu
from stoker.probe.visible_devices import Candidate, select_visible

T = TypeVar("T")

# nvmlGpuP2PCapsIndex_t's READ, by nvml.h: pynvml's constant is the tuple (0,), by a stray comma, and its call fails.
_P2P_READ = 0

# nvmlGpuP2PStatus_t, in words.
_P2P_FAULTS = {
    "NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED": "the chipset does not support it",
    "NVML_P2P_STATUS_GPU_NOT_SUPPORTED": "these GPUs do not support it",
    "NVML_P2P_STATUS_IOH_TOPOLOGY_NOT_SUPPORTED": "the PCIe topology does not support it",
    "NVML_P2P_STATUS_DISABLED_BY_REGKEY": "the driver's settings turn it off",
    "NVML_P2P_STATUS_NOT_SUPPORTED": "it is not supported here",
}


@dataclass(frozen=True)
class FoundGpus:
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    notes: tuple[str, ...] = ()
    p2p_fault: str = ""


def probe_gpus(cpu: Cpu, environ: Mapping[str, str], nvml: Any = None) -> FoundGpus:
    """The GPUs that a CUDA program started with `environ` may use, in its order. `nvml` is the module pynvml."""
    nvml = nvml or importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return FoundGpus(notes=(_why_none(nvml, error),))
    try:
        return _Probe(nvml, cpu).run(environ)
    except nvml.NVMLError as error:
        return FoundGpus(notes=(_why_none(nvml, error),))
    finally:
        _ignoring(nvml, nvml.nvmlShutdown)


def _why_none(nvml: Any, error: Exception) -> str:
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        return "no NVIDIA GPU: the driver's library libnvidia-ml.so.1 is not here"
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return "no NVIDIA GPU: the driver is not loaded"
    if isinstance(error, nvml.NVMLError_NoPermission):
        return "no NVIDIA GPU: no permission to use the driver"
    return f"no NVIDIA GPU: NVML does not start: {error}"


def _ignoring(nvml: Any, call: Callable[[], object]) -> None:
    """For the shutdown, after which nothing is asked any more."""
    try:
        call()
    except nvml.NVMLError:
        return


@dataclass(frozen=True)
class _Device:
    """`handle` is NVML's, `position` its index of the GPU. MIG instances share `position` and `gpu_uuid`."""

    gpu: Gpu
    handle: Any
    position: int
    gpu_uuid: str


class _Probe:
    """One pass over NVML, between its initialisation and its shutdown."""

    def __init__(self, nvml: Any, cpu: Cpu) -> None:
        self.nvml = nvml
        self.cpu = cpu
        self.notes: list[str] = []
        self.p2p_fault = ""

    def run(self, environ: Mapping[str, str]) -> FoundGpus:
        devices = [device for position in range(self._count()) for device in self._devices(position)]
        candidates = [Candidate(device.gpu.uuid, device.position, device.gpu_uuid) for device in devices]
        chosen, notes = select_visible(candidates, environ)
        visible = [devices[index] for index in chosen]
        linked, direct = self._peers(visible, self._are_linked), self._peers(visible, self._are_direct)
        gpus = tuple(
            replace(device.gpu, index=index, nvlink_peers=linked[index], p2p_peers=direct[index])
            for index, device in enumerate(visible)
        )
        driver = self._ask("the driver's version", self.nvml.nvmlSystemGetDriverVersion, "")
        return FoundGpus(gpus, driver, self._cuda_version(), (*self.notes, *notes), self.p2p_fault)

    def _ask(self, what: str, call: Callable[[], T], otherwise: T) -> T:
        """The answer, or `otherwise` and a note. A lost GPU is for the caller to drop."""
        try:
            return call()
        except self.nvml.NVMLError_GpuIsLost:
            raise
        except self.nvml.NVMLError as error:
            self._note(f"{what} is not known: {error}")
            return otherwise

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _count(self) -> int:
        return self._ask("the number of GPUs", self.nvml.nvmlDeviceGetCount, 0)

    def _cuda_version(self) -> str:
        """NVML gives 1000 x major + 10 x minor."""
        version = self._ask("the driver's CUDA version", self._cuda_number, 0)
        return f"{version // 1000}.{version % 1000 // 10}" if version else ""

    def _cuda_number(self) -> int:
        """The second version of the call asks libcuda rather than the driver's constants; older drivers lack it."""
        try:
            return int(self.nvml.nvmlSystemGetCudaDriverVersion_v2())
        except self.nvml.NVMLError:
            return int(self.nvml.nvmlSystemGetCudaDriverVersion())

    def _devices(self, position: int) -> list[_Device]:
        """The GPU at NVML's index `position`, its MIG instances where it is divided, or nothing if it does not work."""
        try:
            handle = self.nvml.nvmlDeviceGetHandleByIndex(position)
            gpu = self._gpu(handle, f"GPU {position}", position)
            if not self._is_divided(handle):
                return [_Device(gpu, handle, position, gpu.uuid)]
            return self._mig_devices(handle, gpu, position)
        except self.nvml.NVMLError as error:
            self._note(f"GPU {position} is left out: {error}")
            return []

    def _gpu(self, handle: Any, label: str, position: int) -> Gpu:
        nvml = self.nvml
        name = self._ask(f"{label}: the name", lambda: nvml.nvmlDeviceGetName(handle), "NVIDIA GPU")
        total, free, unified = self._memory(handle, f"{label} ({name})")
        major_minor = self._ask(
            f"{label}: the compute capability", lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle), (0, 0)
        )
        return Gpu(
            index=position,
            uuid=self._ask(f"{label}: the UUID", lambda: nvml.nvmlDeviceGetUUID(handle), ""),
            name=name,
            pci_bus_id=self._ask(f"{label}: the PCI address", lambda: self._pci_bus_id(handle), ""),
            memory_total=total,
            memory_free=free,
            compute_capability=(major_minor[0], major_minor[1]),
            unified_memory=unified,
            ecc=self._error_correction(handle),
            processes=self._processes(handle),
            persistence=self._persistence(handle),
        )

    def _error_correction(self, handle: Any) -> bool | None:
        """Cards without it answer that it is not supported."""
        try:
            current, _ = self.nvml.nvmlDeviceGetEccMode(handle)
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return None
        return bool(current)

    def _persistence(self, handle: Any) -> bool | None:
        try:
            return bool(self.nvml.nvmlDeviceGetPersistenceMode(handle))
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return None

    def _processes(self, handle: Any) -> int:
        """Not reported for virtual GPUs, nor by drivers of Jetson boards."""
        try:
            return len(self.nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return 0

    def _pci_bus_id(self, handle: Any) -> str:
        bus_id = self.nvml.nvmlDeviceGetPciInfo(handle).busId
        return bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)

    def _memory(self, handle: Any, label: str) -> tuple[int, int, bool]:
        """Total and free bytes, and whether they are the host's.

        GB10 and Jetson have no memory of their own to tell: by their driver's version, an error or a total of 0.
        """
        try:
            memory = self.nvml.nvmlDeviceGetMemoryInfo(handle)
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return self._untold_memory(handle, label)
        except self.nvml.NVMLError_NoPermission as error:
            self._note(f"{label}: the memory is not known: {error}")
            return 0, 0, False
        if not memory.total:
            return self._untold_memory(handle, label)
        return int(memory.total), int(memory.free), False

    def _untold_memory(self, handle: Any, label: str) -> tuple[int, int, bool]:
        """The host's; but that of a virtual GPU is not the host's, so it stays unknown."""
        if self._is_virtual(handle):
            self._note(f"{label}: the memory of this virtual GPU is not known")
            return 0, 0, False
        self._note(f"{label} has no memory of its own: it shares the host's")
        return self.cpu.memory_total, self.cpu.memory_available, True

    def _is_virtual(self, handle: Any) -> bool:
        try:
            mode = self.nvml.nvmlDeviceGetVirtualizationMode(handle)
        except self.nvml.NVMLError:
            return False
        return bool(mode == self.nvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU)

    def _is_divided(self, handle: Any) -> bool:
        """GPUs that know no MIG, and drivers that do not, answer with an error: not divided."""
        try:
            current, _ = self.nvml.nvmlDeviceGetMigMode(handle)
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return False
        return bool(current == self.nvml.NVML_DEVICE_MIG_ENABLE)

    def _mig_devices(self, handle: Any, parent: Gpu, position: int) -> list[_Device]:
        instances = list(self._mig_handles(handle))
        if not instances:
            self._note(f"GPU {position} ({parent.name}) is left out: MIG is on and no instance is visible here")
        return [self._mig_device(mig, parent, position, number) for number, mig in instances]

    def _mig_handles(self, handle: Any) -> Iterator[tuple[int, Any]]:
        """A container sees the instances that it was given; the others, and gaps, are not found."""
        for number in range(self.nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                yield number, self.nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            except (self.nvml.NVMLError_NotFound, self.nvml.NVMLError_InvalidArgument):
                continue

    def _mig_device(self, mig: Any, parent: Gpu, position: int, number: int) -> _Device:
        """What an instance does not answer itself (compute capability, PCI address) is its GPU's."""
        nvml = self.nvml
        label = f"GPU {position} MIG instance {number}"
        total, free, unified = self._memory(mig, label)
        gpu = replace(
            parent,
            uuid=self._ask(f"{label}: the UUID", lambda: nvml.nvmlDeviceGetUUID(mig), ""),
            name=self._ask(f"{label}: the name", lambda: nvml.nvmlDeviceGetName(mig), f"{parent.name} MIG"),
            memory_total=total,
            memory_free=free,
            unified_memory=unified,
            is_mig=True,
        )
        return _Device(gpu, mig, position, parent.uuid)

    def _peers(self, devices: list[_Device], reach: Callable[[_Device, _Device], bool]) -> list[tuple[int, ...]]:
        """For each device the others that it reaches. MIG instances reach none."""
        peers: list[list[int]] = [[] for _ in devices]
        for first, second in combinations(range(len(devices)), 2):
            if not (devices[first].gpu.is_mig or devices[second].gpu.is_mig) and reach(devices[first], devices[second]):
                peers[first].append(second)
                peers[second].append(first)
        return [tuple(sorted(others)) for others in peers]

    def _are_linked(self, first: _Device, second: _Device) -> bool:
        """By NVLink, directly or by a switch."""
        status = self._p2p_status(first, second, self.nvml.NVML_P2P_CAPS_INDEX_NVLINK)
        return bool(status == self.nvml.NVML_P2P_STATUS_OK)

    def _are_direct(self, first: _Device, second: _Device) -> bool:
        status = self._p2p_status(first, second, _P2P_READ)
        for name, words in _P2P_FAULTS.items():
            if status == getattr(self.nvml, name):
                self.p2p_fault = self.p2p_fault or words
        return bool(status == self.nvml.NVML_P2P_STATUS_OK)

    def _p2p_status(self, first: _Device, second: _Device, capability: int) -> int | None:
        try:
            return int(self.nvml.nvmlDeviceGetP2PStatus(first.handle, second.handle, capability))
        except self.nvml.NVMLError as error:
            self._note(f"NVLink and P2P between GPUs are not known: {error}")
            return None
