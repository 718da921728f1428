"""From a checkpoint to a server that is ready, beside llama.cpp: convert, quantise, load. Nothing is built beforehand.

    python -m tests.performance.cold_start --llama-cpp SOURCE --llama-bin FOLDER --convert-with PYTHON [--rounds 3]

SOURCE is llama.cpp's source with its converter, FOLDER has `llama-quantize` and `llama-server`, and PYTHON has the
converter's requirements (torch, transformers, gguf). The two take turns. The checkpoint is in the page cache for both.
Prints a line for each start and the medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from processes import WORK, becomes_ready, served
from random_models import SHAPES, write_model
from tests.ports import free_port

# The converter knows tokenizers by how they split a certain text, and a random model's is none that it knows.
_CONVERT = """
import runpy, sys
sys.path.insert(0, {source!r})
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
runpy.run_path({source!r} + "/convert_hf_to_gguf.py", run_name="__main__")
"""
_KINDS = {"int8": "q8_0", "int4": "q4_0"}


def ours(model: Path, precision: str) -> float:
    cache = WORK / "cold-cache"
    shutil.rmtree(cache, ignore_errors=True)
    with served(model, cache, "--engine", "openvino", "--precision", precision) as server:
        return server.seconds_to_ready


def llama(model: Path, precision: str, options: argparse.Namespace) -> float:
    """8 bits are written by the converter itself; 4 by the tool for it, from 16."""
    kind = _KINDS[precision]
    plain, wanted = WORK / "cold-bf16.gguf", WORK / f"cold-{kind}.gguf"
    for file in (plain, wanted):
        file.unlink(missing_ok=True)
    by_converter = kind == "q8_0"
    target, outtype = (wanted, kind) if by_converter else (plain, "bf16")
    began = time.perf_counter()
    convert = [options.convert_with, "-c", _CONVERT.format(source=str(options.llama_cpp))]
    _run([*convert, str(model), "--outtype", outtype, "--outfile", str(target)])
    if not by_converter:
        _run([str(options.llama_bin / "llama-quantize"), str(plain), str(wanted), kind])
    port = free_port()
    command = [str(options.llama_bin / "llama-server"), "-m", str(wanted), "--port", str(port), "-c", "16384"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert becomes_ready(f"http://127.0.0.1:{port}/health", process)
            return time.perf_counter() - began
        finally:
            process.terminate()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:300]}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--llama-bin", type=Path, required=True)
    parser.add_argument("--convert-with", required=True, metavar="PYTHON")
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b")
    parser.add_argument("--precisions", nargs="+", choices=_KINDS, default=list(_KINDS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    model = write_model(WORK / f"{options.shape}-shape", SHAPES[options.shape])
    for precision in options.precisions:
        starts: dict[str, Callable[[], float]] = {
            "stoker": partial(ours, model, precision),
            "llama.cpp": partial(llama, model, precision, options),
        }
        took: dict[str, list[float]] = {name: [] for name in starts}
        for _ in range(options.rounds):
            for name, start in starts.items():
                took[name].append(start())
                print(f"{precision} {name}: {took[name][-1]:.2f} s", flush=True)
        medians = {name: statistics.median(each) for name, each in took.items()}
        ratio = medians["stoker"] / medians["llama.cpp"]
        print(f"{precision}: {', '.join(f'{name} {each:.2f} s' for name, each in medians.items())}, {ratio:.2f} times")


if __name__ == "__main__":
    main()
