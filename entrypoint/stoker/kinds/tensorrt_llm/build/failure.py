"""Why a tool failed, from its exit code and the last it printed."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

from stoker.errors import BuildError, OutOfMemoryError
from stoker.kinds.tensorrt_llm.build.process import Ran

_HOST_MEMORY = re.compile(
    r"^MemoryError\b|std::bad_alloc|Cannot allocate memory|DefaultCPUAllocator: can't allocate memory"
    r"|terminated abruptly while the future was running|BrokenProcessPool"
)
_GPU_MEMORY = re.compile(
    r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|Cuda Runtime \(out of memory\)|OutOfMemory\b"
)
_NO_DRIVER = re.compile(r"libcuda\.so\.1|Found no NVIDIA driver|no CUDA-capable device|GPU is required for inference")
_ERROR = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b.*|\[E\] .*|^.*: error: .*")
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_LAST, _LONGEST = 3, 600


def failed(tool: str, ran: Ran, killed_for_memory: bool, needed: str) -> BuildError:
    """`tool`: what people know it by. `killed_for_memory`: the kernel did that meanwhile. `needed`: text for the host's
    memory that the plan reckons with."""
    why = f"{_ending(ran.code)}: {last_words(ran.lines)}"
    if killed_for_memory or ran.code in _KILLED or _any(_HOST_MEMORY, ran.lines):
        remedy = f"give it more memory (about {needed} is enough), or build where there is and copy the cache"
        return OutOfMemoryError(f"{tool} ran out of the host's memory", why=why, remedy=remedy)
    if _any(_GPU_MEMORY, ran.lines):
        remedy = "stop what else uses the GPU, or choose a smaller --max-num-tokens, --max-batch-size or --precision"
        return BuildError(f"{tool} ran out of the GPU's memory", why=why, remedy=remedy)
    if _any(_NO_DRIVER, ran.lines):
        remedy = "start the container with --gpus all; `stoker doctor` checks the driver"
        return BuildError(f"{tool} finds no GPU", why=why, remedy=remedy)
    return BuildError(f"{tool} failed", why=why)


def last_words(lines: Iterable[str]) -> str:
    """The last error that it printed, else its last lines."""
    spoken = [line.strip() for line in lines]
    errors = [line for line in spoken if _ERROR.search(line)]
    return (errors[-1] if errors else " | ".join(spoken[-_LAST:]))[:_LONGEST] or "it said nothing"


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _any(pattern: re.Pattern[str], lines: Iterable[str]) -> bool:
    return any(pattern.search(line) for line in lines)
