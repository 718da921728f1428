"""Machines that are not here: from a short text like `8xH100-80GB`, or from a YAML file of `dump_description`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from stoker.errors import UsageError
from stoker.nearest import nearest
from stoker.probe.description_file import read_description
from stoker.probe.machine import AMD, INVENTED_CPU, NVIDIA, Cpu, Gpu, Machine, machines
from stoker.yaml_text import parse_yaml

GIB = 1 << 30
# What is left to programs, rather a little less than more: the driver keeps about 0.5 % of a GPU's memory (an H100
# reports 81,559 of its 81,920 MiB, an H200 143,771 of 144,384), the system more of a unified machine's.
_DRIVER_SHARE = 0.994
_SYSTEM_SHARE = 0.93
# A host to plan a GPU engine on, when the text does not say: enough never to be the limit.
_HOST = Cpu(
    architecture="x86_64",
    name=INVENTED_CPU,
    cores=16,
    core_quota=None,
    memory_total=128 * GIB,
    memory_limit=128 * GIB,
    memory_available=128 * GIB,
    isa=("avx2", "avx512", "avx512_vnni"),
)

_X86_ISA = ("avx2", "avx512", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8", "amx_fp16")
_ARM_ISA = ("neon", "sve", "asimd_bf16", "asimd_i8mm")
# Naming the newer extension names what every processor that has it has as well.
_IMPLIED = {
    "avx512": ("avx2",),
    "avx_vnni": ("avx2",),
    "avx512_vnni": ("avx2", "avx512"),
    "avx512_bf16": ("avx2", "avx512", "avx512_vnni"),
    "amx_bf16": ("avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_int8"),
    "amx_int8": ("avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16"),
    "amx_fp16": ("avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    "sve": ("neon",),
    "asimd_bf16": ("neon",),
    "asimd_i8mm": ("neon",),
}
_FORMS = "8xH100-80GB, 2x(8xH100-80GB), cpu:16c-64g, cpu:16c-64g-avx512_bf16, both with a comma between, or a YAML file"


@dataclass(frozen=True)
class Product:
    """An entry of machines.yaml; `memory` in GiB, as the vendor's sheet has it. `architecture` is AMD's."""

    name: str
    memory: int
    source: str
    capability: str = "0.0"
    architecture: str = ""
    nvlink: bool = False
    inline_ecc: bool = False
    unified: bool = False
    cores: int = 0
    cpu: str = ""
    aliases: tuple[str, ...] = field(default=())


def load_description(text: str) -> Machine:
    """The machine that `text` names or whose file it is. UsageError says what could not be understood."""
    text = text.strip()
    if text.endswith((".yaml", ".yml", ".json")) or _is_file(text):
        return read_description(Path(text))
    if several := re.fullmatch(r"([1-9][0-9]{0,2})\s*x\s*\((.+)\)", text, re.IGNORECASE):
        return replace(machines(load_description(several[2]), int(several[1])), name=text)
    parts = [part.strip() for part in text.split(",")]
    gpus = [part for part in parts if not part.lower().startswith("cpu:")]
    cpus = [part for part in parts if part.lower().startswith("cpu:")]
    if len(gpus) > 1 or len(cpus) > 1 or not text:
        raise UsageError(f"machine {text!r} is not understood", remedy=f"write {_FORMS}")
    cpu = _parse_cpu(cpus[0]) if cpus else None
    return _gpu_machine(gpus[0], cpu, text) if gpus else Machine(name=text, cpu=cpu or _HOST)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # longer than a path may be
        return False


def dump_description(machine: Machine) -> str:
    """YAML that `load_description` reads back to an equal machine. Sizes are bytes."""
    import yaml

    return yaml.safe_dump(_plain(asdict(machine)), sort_keys=False, allow_unicode=True)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


@cache
def products() -> dict[str, Product]:
    """machines.yaml, by upper-case name and alias."""
    entries = parse_yaml(Path(__file__).with_name("machines.yaml").read_text(encoding="utf-8"))
    found: dict[str, Product] = {}
    for key, entry in entries.items():
        product = Product(**{**entry, "aliases": tuple(entry.get("aliases", ()))})
        found |= dict.fromkeys((key, *product.aliases), product)
    return found


def _gpu_machine(part: str, cpu: Cpu | None, text: str) -> Machine:
    match = re.fullmatch(r"(?:([1-9][0-9]{0,2})\s*x\s*)?(.+)", part, re.IGNORECASE)
    product = products().get(_key(match[2])) if match else None
    if match is None or product is None:
        guess = nearest(_key(match[2]) if match else part, products())
        remedy = f"did you mean {guess}?" if guess else f"write {_FORMS}"
        raise UsageError(f"machine {text!r} is not understood", remedy=remedy)
    count = int(match[1] or 1)
    if product.unified and count > 1:
        raise UsageError(f"machine {text!r} cannot be", why=f"a machine has one {product.name}")
    gpus = tuple(_gpu(product, index, count) for index in range(count))
    return Machine(name=text, cpu=cpu or _unified_cpu(product), gpus=gpus, shared_memory=GIB)


def _key(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip()).upper()


def _gpu(product: Product, index: int, count: int) -> Gpu:
    major, minor = product.capability.split(".")
    memory = _usable_memory(product)
    return Gpu(
        index=index,
        uuid=f"GPU-described-{index}",
        name=product.name,
        pci_bus_id="",
        memory_total=memory,
        memory_free=memory,
        compute_capability=(int(major), int(minor)),
        nvlink_peers=tuple(peer for peer in range(count) if peer != index) if product.nvlink else (),
        unified_memory=product.unified,
        vendor=AMD if product.architecture else NVIDIA,
        architecture=product.architecture,
    )


def _usable_memory(product: Product) -> int:
    """Bytes that the driver will report, rather a little less than more, in whole MiB."""
    share = _SYSTEM_SHARE if product.unified else _DRIVER_SHARE
    after_ecc = product.memory * 1024 * (15 / 16 if product.inline_ecc else 1)
    return int(after_ecc * share) << 20


def _unified_cpu(product: Product) -> Cpu:
    if not product.unified:
        return _HOST
    memory = _usable_memory(product)
    isa = _ARM_ISA if product.cpu != "Cortex-A78AE" else ("neon",)
    return Cpu("aarch64", product.cpu, product.cores, None, memory, memory, memory, isa)


def _parse_cpu(part: str) -> Cpu:
    match = re.fullmatch(r"cpu:([1-9][0-9]*)c-([1-9][0-9]*)g((?:-[a-z0-9_]+)*)", part.lower())
    if match is None:
        raise UsageError(f"machine {part!r} is not understood", remedy="write cpu:16c-64g, with extensions after a -")
    named = match[3].split("-")[1:] or ["avx2"]
    for extension in named:
        if extension not in _X86_ISA + _ARM_ISA:
            guess = nearest(extension, _X86_ISA + _ARM_ISA)
            remedy = f"did you mean {guess}?" if guess else f"known: {', '.join(_X86_ISA + _ARM_ISA)}"
            raise UsageError(f"machine {part!r}: unknown extension {extension}", remedy=remedy)
    memory = int(match[2]) * GIB
    isa, architecture = _isa(named, part)
    return Cpu(architecture, part, int(match[1]), None, memory, memory, memory, isa)


def _isa(named: list[str], part: str) -> tuple[tuple[str, ...], str]:
    """The extensions and what they imply, in the probe's order, and the architecture they belong to."""
    full = {*named, *(implied for extension in named for implied in _IMPLIED.get(extension, ()))}
    is_arm = not full.isdisjoint(_ARM_ISA)
    if is_arm and not full.isdisjoint(_X86_ISA):
        raise UsageError(f"machine {part!r} cannot be", why="x86 and Arm extensions together")
    order = _ARM_ISA if is_arm else _X86_ISA
    return tuple(extension for extension in order if extension in full), "aarch64" if is_arm else "x86_64"
