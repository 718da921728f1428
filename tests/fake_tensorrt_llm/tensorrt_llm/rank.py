"""A rank's process: runs the parent's main module again, not as `__main__`, then stays until its input ends."""

import os
import runpy
import sys

from tensorrt_llm.core import log

rank, main = sys.argv[1:]
sys.argv = [main]
if main:
    runpy.run_path(main, run_name="__worker__")
log(started=int(rank), pid=os.getpid(), gpus=os.environ.get("CUDA_VISIBLE_DEVICES", ""))
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.read()
