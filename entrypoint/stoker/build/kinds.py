"""The engine kinds, and what of each belongs in an engine's cache key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import Any

from stoker.errors import BuildError, UnsupportedModelError, UsageError
from stoker.kinds.openvino.build.families import POOLED, check_config
from stoker.resolve.model import Model

# Raised whenever our own builder writes a different engine from the same inputs.
OPENVINO_BUILDER = "4"
TENSORRT_LLM_BUILDER = "1"
TENSORRT_LLM_PYTORCH_BUILDER = "1"
# Nothing is compiled: what lies in the engine's directory is ours alone.
TORCH_LAYOUT = "1"


def _tensorrt_llm_tools() -> tuple[str, ...]:
    from stoker.kinds.tensorrt_llm.build.tools import find_tools

    return find_tools().packages


@dataclass(frozen=True)
class Kind:
    """`worker` is the module that builds it, empty where this version cannot; `compilers` are the packages whose
    versions change the bytes it writes, `builder` our own part's version. `needs` is a module without which it is of no
    use here, empty for none. `tools`, for a kind that programs build, gives the folders of those programs' packages,
    which need not be ours; BuildError, which says what to do, where one is missing."""

    name: str
    worker: str
    compilers: tuple[str, ...]
    builder: str = ""
    needs: str = ""
    tools: Callable[[], tuple[str, ...]] | None = None

    @property
    def available(self) -> bool:
        """This version can build it, and what it needs is installed. Imports and runs nothing of that."""
        if not self.worker or (self.needs and find_spec(self.needs) is None):
            return False
        try:
            self.packages()
        except BuildError:
            return False
        return True

    def packages(self) -> tuple[str, ...]:
        """The folders in which `compilers` are installed."""
        return self.tools() if self.tools else tuple(sys.path)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "openvino", "stoker.kinds.openvino.build.worker", ("openvino", "nncf"), OPENVINO_BUILDER, needs="openvino"
        ),
        Kind(
            "tensorrt_llm",
            "stoker.kinds.tensorrt_llm.build.worker",
            ("tensorrt-llm", "tensorrt", "nvidia-modelopt"),
            TENSORRT_LLM_BUILDER,
            tools=_tensorrt_llm_tools,
        ),
        Kind(
            "tensorrt_llm_pytorch",
            "stoker.kinds.tensorrt_llm_pytorch.build.worker",
            ("tensorrt-llm", "nvidia-modelopt"),
            TENSORRT_LLM_PYTORCH_BUILDER,
            needs="tensorrt_llm",
        ),
        Kind("torch", "stoker.kinds.torch.build.worker", (), TORCH_LAYOUT, needs="torch"),
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


def check_known(config: Mapping[str, Any]) -> None:
    """Raises UnsupportedModelError, with the list of what is supported, for what no builder here could make an engine
    of. PyTorch, where it is installed, says so itself: what transformers knows, only its import would tell."""
    try:
        check_config(config)
    except UnsupportedModelError as error:
        if "torch" in buildable_kinds():
            return
        remedy = f"{error.remedy}; or install PyTorch, which knows more: pip install 'stoker[torch]'"
        raise UnsupportedModelError(error.what, why=error.why, remedy=remedy.removeprefix("; or ")) from None


def check_pooled(model: Model) -> None:
    """Raises UnsupportedModelError for a model that gives no text and that no builder here makes an engine of."""
    name = model.architecture.name
    if model.pooling is not None and name not in POOLED:
        why = f"an embedding model of the architecture {name} is not supported"
        raise UnsupportedModelError("this embedding model cannot be served", why=why, remedy="use another model")


def worker_module(name: str) -> str:
    """The module to run; BuildError for a kind that this version does not build, or whose tools are not here."""
    kind = kind_named(name)
    if not kind.worker:
        built = ", ".join(other.name for other in KINDS.values() if other.worker)
        raise BuildError(f"{name} engines are not built in this version", remedy=f"kinds that are: {built}")
    kind.packages()
    return kind.worker


def compiler_versions(name: str) -> dict[str, str]:
    """Installed versions by package; a package that is missing is left out. Imports none of them."""
    kind = kind_named(name)
    found = {"builder": kind.builder} if kind.builder else {}
    try:
        folders = list(kind.packages())
    except BuildError:
        return found
    for package in kind.compilers:
        if installed := next(iter(distributions(name=package, path=folders)), None):
            found[package] = installed.version
    return found
