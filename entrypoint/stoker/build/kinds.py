"""The engine kinds, and what of each belongs in an engine's cache key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from stoker.errors import BuildError, UsageError

# Raised whenever our own builder writes a different engine from the same inputs.
OPENVINO_BUILDER = "3"
TENSORRT_LLM_PYTORCH_BUILDER = "1"


@dataclass(frozen=True)
class Kind:
    """`worker` is the module that builds it, empty where this version cannot; `compilers` are the packages whose
    versions change the bytes it writes, `builder` our own part's version. `needs` is a module without which it is of no
    use here, empty for none."""

    name: str
    worker: str
    compilers: tuple[str, ...]
    builder: str = ""
    needs: str = ""

    @property
    def available(self) -> bool:
        """This version can build it, and what it needs is installed. Imports nothing."""
        return bool(self.worker) and (not self.needs or find_spec(self.needs) is not None)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("openvino", "stoker.build.openvino.worker", ("openvino", "nncf"), OPENVINO_BUILDER),
        Kind("tensorrt_llm", "", ("tensorrt-llm", "tensorrt")),
        Kind(
            "tensorrt_llm_pytorch",
            "stoker.build.tensorrt_llm_pytorch.worker",
            ("tensorrt-llm",),
            TENSORRT_LLM_PYTORCH_BUILDER,
            needs="tensorrt_llm",
        ),
        Kind("torch", "", ("torch", "transformers")),
    )
}


def kind_named(name: str) -> Kind:
    try:
        return KINDS[name]
    except KeyError:
        raise UsageError(f"unknown engine kind {name}", remedy=f"use one of {', '.join(KINDS)}") from None


def buildable_kinds() -> frozenset[str]:
    """Those that this version can build, on this installation."""
    return frozenset(kind.name for kind in KINDS.values() if kind.available)


def worker_module(name: str) -> str:
    """The module to run; raises BuildError for a kind that is not built in this version."""
    kind = kind_named(name)
    if not kind.worker:
        built = ", ".join(other.name for other in KINDS.values() if other.worker)
        raise BuildError(f"{name} engines are not built in this version", remedy=f"kinds that are: {built}")
    return kind.worker


def compiler_versions(name: str) -> dict[str, str]:
    """Installed versions by package; a package that is missing is left out. Imports none of them."""
    kind = kind_named(name)
    found = {"builder": kind.builder} if kind.builder else {}
    for package in kind.compilers:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
