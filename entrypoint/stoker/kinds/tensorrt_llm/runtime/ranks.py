"""One server process for each GPU of an engine, under mpirun: the backend's leader mode.

Rank 0 answers; the others never finish loading, so that their ports stay closed. mpirun watches them all: when one
goes, it ends the rest and itself. It passes SIGTERM on to each, and kills what is still there a while later.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from stoker.errors import EngineError

_PREFIX = "shm-region-prefix-name="


def under_mpirun(ranks: int, exit_seconds: int) -> Callable[[list[str]], list[str]]:
    """What turns a server's command line into that of `ranks` servers. EngineError where a program is missing."""
    mpirun, setpriv = _program("mpirun", "openmpi-bin"), _program("setpriv", "util-linux")

    def launcher(arguments: list[str]) -> list[str]:
        line = [mpirun, *_options(exit_seconds)]
        for rank in range(ranks):
            separator = [":"] if rank else []
            # A rank must not outlive an mpirun that was killed: it would keep its GPU's memory.
            line += [*separator, "-n", "1", setpriv, "--pdeathsig", "KILL", *_of_rank(arguments, rank)]
        return line

    return launcher


def _options(exit_seconds: int) -> list[str]:
    return [
        "--allow-run-as-root",  # images run as root unless told otherwise
        "--oversubscribe",  # slots are counted in cores, of which a container may have fewer than GPUs
        *("--bind-to", "none"),  # else each rank, with all its threads, is bound to one core
        *("--mca", "plm", "isolated"),  # one machine: no ssh is looked for
        *("--mca", "odls_base_sigkill_timeout", str(exit_seconds)),  # between SIGTERM and SIGKILL
    ]


def _of_rank(arguments: list[str], rank: int) -> list[str]:
    """Each rank's Python backend has shared memory of its own."""
    return [f"{each}r{rank}-" if _PREFIX in each else each for each in arguments]


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EngineError(f"{name} is missing", why="several GPUs need it", remedy=f"apt install {package}")
    return path
