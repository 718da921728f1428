"""In the host's place: a process that spawns another, which starts a program that ignores signals. Prints their ids."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory


def spawned(printed: Connection) -> None:
    program = subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"])
    print(os.getpid(), program.pid, flush=True)
    printed.send(True)
    time.sleep(600)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    lock, memory = context.Lock(), SharedMemory(create=True, size=64)
    semaphore = vars(lock)["_semlock"].name.lstrip("/")
    print(os.getpid(), memory.name, f"sem.{semaphore}", flush=True)
    printed, end = context.Pipe(duplex=False)
    context.Process(target=spawned, args=(end,)).start()
    if "broken" in sys.argv[1]:
        printed.recv()
        os._exit(3)
    time.sleep(600)
