"""A rank other than the first, in a process of its own: it follows rank 0's manager, step by step.

    python -m stoker.kinds.torch.runtime.rank RANK RENDEZVOUS

The first line of its standard input is the engine's settings; the end of it is the end of rank 0, and of this process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from stoker.json_text import parse_json
from stoker.launch.settings import EngineSettings

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.01


def main(rank: int, rendezvous: Path) -> int:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    settings = EngineSettings.of(parse_json(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_the_first, name="first", daemon=True).start()
    try:
        follow(settings, rank, rendezvous)
    except Exception as error:  # whatever PyTorch and transformers raise, the first rank is to hear of it
        logger.error("rank %d of the engine failed: %s", rank, " ".join(str(error).split()) or type(error).__name__)
        return 1
    return 0


def _end_with_the_first() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def follow(settings: EngineSettings, rank: int, rendezvous: Path) -> None:
    """Returns when rank 0 has stopped; raises what ended the work of this rank."""
    from stoker.kinds.torch.runtime.choice import loaded
    from stoker.kinds.torch.runtime.group import join
    from stoker.kinds.torch.runtime.paged import open_manager

    join(settings, rank, rendezvous)
    manager = open_manager(loaded(settings), settings)
    manager.start()
    while manager.is_running():
        _discard_results(manager)
    if error := manager.background_thread_status.fatal_error:
        raise error


def _discard_results(manager: Any) -> None:
    """They are rank 0's to tell; here they would only pile up.

    An idle manager sleeps for 0.1 s between its exchanges with the others. This one's sleep is cut short, so that a new
    request waits for nobody: it waits for rank 0 inside the exchange instead.
    """
    if wake := getattr(manager, "_wake_up_loop", None):
        wake.set()
    while manager.get_result(timeout=_POLL_SECONDS) is not None:
        pass
    if error := manager.background_thread_status.fatal_error:
        raise error  # its thread may yet wait for ranks that wait for it


if __name__ == "__main__":
    code = main(int(sys.argv[1]), Path(sys.argv[2]))
    sys.stderr.flush()
    os._exit(code)  # a thread of the manager's may still be waiting for the others
