"""Which GPUs the environment leaves visible: CUDA_VISIBLE_DEVICES and NVIDIA_VISIBLE_DEVICES, and AMD's
ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_NO_DEVICE = ("", "-1", "none", "void", "NoDevFiles")


@dataclass(frozen=True)
class Candidate:
    """A device that NVML lists. MIG instances of one GPU share `position`, the GPU's index, and `gpu_uuid`."""

    uuid: str
    position: int
    gpu_uuid: str


def visible_to_cuda(uuids: Sequence[str]) -> dict[str, str]:
    """The environment of a program that is to see these GPUs alone, in this order; with none it is left as it is."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(uuids)} if uuids else {}


def visible_to_pytorch(uuids: Sequence[str]) -> dict[str, str]:
    """The same for a PyTorch of either vendor: each vendor's runtime heeds its own variables.

    ROCR_VISIBLE_DEVICES is AMD's that knows UUIDs. What HIP is told besides would count among those, and comes before
    CUDA_VISIBLE_DEVICES, so that it names all of them.
    """
    if not uuids:
        return {}
    everything = ",".join(str(index) for index in range(len(uuids)))
    hip = {"ROCR_VISIBLE_DEVICES": ",".join(uuids), "HIP_VISIBLE_DEVICES": everything}
    return {**visible_to_cuda(uuids), **hip}


def select_visible(devices: Sequence[Candidate], environ: Mapping[str, str]) -> tuple[list[int], list[str]]:
    """Indices into `devices` in the order in which a CUDA program would number them, and notes."""
    chosen, notes = _by_container(devices, environ.get("NVIDIA_VISIBLE_DEVICES"))
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return chosen, notes
    visible, more = _by_cuda([devices[index] for index in chosen], given)
    if environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and _has_numbers(given) and len(devices) > 1:
        more.append("CUDA_VISIBLE_DEVICES is read in PCI order, as with CUDA_DEVICE_ORDER=PCI_BUS_ID; UUIDs are safer")
    return [chosen[index] for index in visible], [*notes, *more]


def select_for_hip(
    devices: Sequence[Candidate], environ: Mapping[str, str], *, alone: bool
) -> tuple[list[int], list[str]]:
    """As select_visible, for AMD's GPUs in the order of ROCm's runtime. `alone`: there are none of NVIDIA's, so that
    CUDA_VISIBLE_DEVICES, which HIP knows too, is meant for these."""
    chosen, notes = list(range(len(devices))), list[str]()
    for name in ("ROCR_VISIBLE_DEVICES", _hip_variable(environ, alone)):
        given = environ.get(name) if name else None
        if given is not None:
            left = [replace(devices[index], position=place) for place, index in enumerate(chosen)]
            visible, more = _by_cuda(left, given, name)
            chosen, notes = [chosen[index] for index in visible], [*notes, *more]
    return chosen, notes


def _hip_variable(environ: Mapping[str, str], alone: bool) -> str:
    if "HIP_VISIBLE_DEVICES" in environ:
        return "HIP_VISIBLE_DEVICES"
    return "CUDA_VISIBLE_DEVICES" if alone else ""


def _by_container(devices: Sequence[Candidate], given: str | None) -> tuple[list[int], list[str]]:
    """NVIDIA_VISIBLE_DEVICES: the container toolkit has already hidden the others, except in a privileged container.

    `void` is what a device interface (CDI) sets when it has put the devices in place itself, so it says nothing, and
    neither does an empty value. Indices are the host's: they mean something only where NVML lists more GPUs than named.
    """
    everything = list(range(len(devices)))
    if given is None or given.strip() in ("", "all", "void"):
        return everything, []
    if given.strip() == "none":
        return [], ["NVIDIA_VISIBLE_DEVICES=none hides every GPU"] if devices else []
    names = _split(given)
    if _has_numbers(given) and len({device.position for device in devices}) <= len(names):
        return everything, []
    named = {index for name in names for index in _matches(devices, name)}
    return (sorted(named), []) if named else (everything, [])


def _by_cuda(
    devices: Sequence[Candidate], given: str, variable: str = "CUDA_VISIBLE_DEVICES"
) -> tuple[list[int], list[str]]:
    """CUDA C++ Programming Guide, environment variables: the first name that is not valid, -1 say, ends the list.

    Instances of a divided GPU count one by one when it is named by its index.
    """
    chosen: list[int] = []
    for name in _split(given):
        matches = _matches(devices, name)
        if matches and not set(matches) & set(chosen):
            chosen += matches
            continue
        if name not in _NO_DEVICE:
            return chosen, [f"{variable}={given}: {name} names no further GPU, and ends the list"]
        break
    return chosen, [f"{variable}={given} hides every GPU"] if devices and not chosen else []


def _matches(devices: Sequence[Candidate], name: str) -> list[int]:
    """By index, by UUID, or by as much of the beginning of one as names a single GPU; `0:1` is an instance of GPU 0."""
    if name.isdigit():
        return [index for index, device in enumerate(devices) if device.position == _nth(devices, int(name))]
    gpu, colon, instance = name.partition(":")
    if colon and gpu.isdigit() and instance.isdigit():
        return _matches(devices, gpu)[int(instance) : int(instance) + 1]
    return _matches_uuid(devices, name)


def _matches_uuid(devices: Sequence[Candidate], name: str) -> list[int]:
    if not name.startswith(("GPU-", "MIG-")):
        return []
    uuids = [device.gpu_uuid if name.startswith("GPU-") else device.uuid for device in devices]
    found = {uuid for uuid in uuids if uuid.startswith(name)}
    meant = name if name in found else next(iter(found), "")
    return [index for index, uuid in enumerate(uuids) if uuid == meant] if len(found) == 1 or name in found else []


def _nth(devices: Sequence[Candidate], number: int) -> int:
    """The position of the GPU that is called `number` among these."""
    positions = sorted({device.position for device in devices})
    return positions[number] if number < len(positions) else -1


def _has_numbers(given: str) -> bool:
    return any(name.partition(":")[0].isdigit() for name in _split(given))


def _split(given: str) -> list[str]:
    return [name.strip() for name in given.split(",")]
