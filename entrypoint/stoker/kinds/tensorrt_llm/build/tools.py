"""Where TensorRT-LLM's tools are on this machine. Nothing is imported or run to find out.

NVIDIA's images have `trtllm-build` in a virtual environment and the converters among the examples, in places that have
moved between releases: the command is looked for on the path and beside Python, the examples from there upwards.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import BuildError
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia

KIND = "tensorrt_llm"
BUILD = "trtllm-build"
_CONVERT = "convert_checkpoint.py"
_QUANTIZE = Path("quantization/quantize.py")
_FAMILY_FOLDERS = ("models/core", "models/contrib", ".")  # under examples, the newest layout first
_BELOW = (".", "app", "app/tensorrt_llm", "tensorrt_llm", "workspace/tensorrt_llm")


@dataclass(frozen=True)
class Tools:
    """`python` is the interpreter that has TensorRT-LLM installed; `examples` the folder with the converters."""

    build: Path
    python: Path
    examples: Path

    @property
    def quantize(self) -> Path:
        return self.examples / _QUANTIZE

    @property
    def packages(self) -> tuple[str, ...]:
        """Where the interpreter's packages are."""
        lib = self.build.parent.parent / "lib"
        return tuple(str(path) for name in ("site", "dist") for path in sorted(lib.glob(f"python3*/{name}-packages")))

    def convert(self, folder: str) -> Path:
        """The script of a family. BuildError where these examples have none."""
        for each in _FAMILY_FOLDERS:
            script = self.examples / each / folder / _CONVERT
            if script.is_file():
                return script
        places = ", ".join(str(self.examples / each / folder) for each in _FAMILY_FOLDERS)
        raise BuildError(f"TensorRT-LLM's converter for {folder} is missing", why=f"no {_CONVERT} in {places}")


def find_tools() -> Tools:
    """BuildError, which says which image has them, where one is missing."""
    build = _build_command()
    if build is None:
        raise _missing(f"no {BUILD} on the path or beside {sys.executable}")
    python = _interpreter(build)
    if python is None:
        raise _missing(f"{build} names no Python interpreter that is there")
    examples = next(_examples(build), None)
    if examples is None:
        raise _missing(f"no examples/{_QUANTIZE} in or above {build.parent}; a pip installation comes without")
    return Tools(build, python, examples)


def _build_command() -> Path | None:
    beside = (Path(folder) / "bin" for folder in (os.environ.get("VIRTUAL_ENV", ""), sys.prefix) if folder)
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, beside)])
    found = shutil.which(BUILD, path=path)
    return Path(found).absolute() if found else None


def _interpreter(build: Path) -> Path | None:
    """The one in the command's first line, as pip writes it; else the one beside it."""
    with build.open("rb") as file:
        first = file.readline(4096)
    named = [first[2:].split()[0].decode(errors="replace")] if first.startswith(b"#!/") and first[2:].split() else []
    candidates = (*(Path(name) for name in named if "python" in Path(name).name), build.parent / "python3")
    return next((path for path in candidates if path.is_file()), None)


def _examples(build: Path) -> Iterator[Path]:
    for parent in build.parents:
        for below in _BELOW:
            folder = parent / below / "examples"
            if (folder / _QUANTIZE).is_file():
                yield folder


def _missing(why: str) -> BuildError:
    image = load_nvidia().kinds[KIND].image
    return BuildError(
        f"the tools of {image.release} are not installed here",
        why=why,
        remedy=f"run Stoker's NVIDIA image, or one made from {image.name}, which has them",
    )
