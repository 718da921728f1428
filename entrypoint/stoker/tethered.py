"""Commands that end with this process, started without running any of our code between fork and exec.

A `preexec_fn` runs Python in a copy of a process whose other threads (gRPC's, an engine's, the event loop's) do
not exist while their locks are held: now and then the copy crashes or hangs before it ever becomes the command. So a
small Python process asks for what `preexec_fn` would have asked for, and then becomes the command by exec: same
process ID, same session, same files.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from stoker.pinning import ANYWHERE, Pinning
from stoker.private_files import keep_private
from stoker.processes import die_with_parent

OWN_GROUP, PRIVATE = "own-group", "private"
_ROOT = str(Path(__file__).parents[1])
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells report it


def tethered(command: Sequence[str], death: signal.Signals, *traits: str, pinning: Pinning = ANYWHERE) -> list[str]:
    """The command line that runs `command` and sends it `death` when this process ends, however that happens.

    OWN_GROUP: it leads a process group of its own. PRIVATE: the files that it makes are its user's alone
    (private_files.py). `pinning`: where it runs. Call it in the thread that starts the process, which must outlive it
    (prctl(2)).
    """
    start = f"import sys; sys.path.insert(0, {_ROOT!r}); from stoker.tethered import main; main()"
    how = [str(os.getpid()), str(int(death)), ",".join(traits), str(pinning)]
    return [sys.executable, "-I", "-S", "-c", start, *how, *command]


def main() -> None:
    parent, death, traits, pinning, *command = sys.argv[1:]
    if OWN_GROUP in traits.split(","):
        os.setpgid(0, 0)
    if PRIVATE in traits.split(","):
        keep_private()
    Pinning.of(pinning).apply()
    die_with_parent(int(parent), signal.Signals(int(death)))
    _become(command)


def _become(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)
