"""`make bench-peers`: our CPU engine beside llama.cpp, vLLM's CPU build and transformers.

    make bench-peers LLAMA=.venv-peers/bin/python VLLM=.venv-vllm/bin/python [SHAPE=llama-1b] [HTTP=1 LLAMA_SERVER=FILE]

All are driven directly, or with --http each as the server that it comes with. Each stays loaded; for each load they
take turns, so that a machine that drifts drifts for all. A peer without an environment is left out, and the table says
so. Nothing here fails on a figure. With --write the table goes to docs/performance.md, which has a place for each mode
and shape. What would not end within --minutes is not measured again, whatever --rounds says.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # whose modules import each other by their own names

from tests.performance import table
from tests.performance.peers.driven import Driven, driven_peers
from tests.performance.peers.figures import heading, text
from tests.performance.peers.peer import Load, Measured, Peer
from tests.performance.peers.server import Server, served_peers
from tests.performance.processes import WORK
from tests.performance.random_models import SHAPES, write_model

QUICK = ((1, 16, 4), (1, 64, 1))
LOADS = ((1, 128, 32), (4, 128, 32), (1, 128, 1), (1, 1500, 1), (16, 128, 32), (32, 128, 32))
SHAPE = "qwen2.5-0.5b"


def marks(shape: str, http: bool) -> tuple[str, str]:
    """Begin and end of their table in the document."""
    command = "make bench-peers" + (" HTTP=1" if http else "") + (f" SHAPE={shape}" if shape != SHAPE else "")
    return f"<!-- begin: written by `{command}` -->\n", f"<!-- end of `{command}` -->"


def measure(running: Sequence[Measured], loads: Sequence[Load], rounds: int, until: float) -> dict[Load, list[float]]:
    """Median seconds of each, by load. `until`, of time.monotonic: no load is measured again that would end later, nor
    begins later."""
    found: dict[Load, list[list[float]]] = {load: [] for load in loads}
    took = dict.fromkeys(loads, 0.0)
    for turn in range(1, rounds + 1):
        for place, (load, turns) in enumerate(found.items()):
            began = time.monotonic()
            if began + took[load] <= until:  # a seed for each: engines that keep prompts would know another load's
                turns.append([one.seconds(load, seed=1000 * turn + place) for one in running])
                took[load] = time.monotonic() - began
                print(json.dumps({"load": load, "seconds": turns[-1]}), flush=True)
    measured = {load: list(zip(*turns, strict=True)) for load, turns in found.items() if turns}
    return {load: [statistics.median(each) for each in turns] for load, turns in measured.items()}


def started(options: argparse.Namespace, model: Path) -> Iterator[Measured]:
    log = WORK / "peers.log"
    if options.http:
        for peer in wanted(options, served_peers(model, options.llama_server, options.llama, options.vllm)):
            yield shown(Server(peer, model.name, log))
    else:
        for peer in wanted(options, driven_peers(model, options.llama, options.vllm)):
            yield shown(Driven(peer, log))


def wanted(options: argparse.Namespace, peers: Iterator[Peer]) -> Iterator[Peer]:
    return (peer for peer in peers if not options.only or peer.precision in options.only.split(","))


def load_of(text: str) -> Load:
    streams, prompt, new = map(int, text.split("x"))
    return streams, prompt, new


def shown(one: Measured) -> Measured:
    facts = {"peer": one.peer.name, "precision": one.peer.precision, "version": one.version, "loaded_in": one.load}
    print(json.dumps(facts | ({"why": one.why} if one.why else {})), flush=True)
    return one


def notes_on(options: argparse.Namespace) -> Iterator[str]:
    """What every table of this mode has to say."""
    llama, vllm = "llama.cpp: not measured, {} was given.", "{}: not measured, no environment was given."
    if not options.http:
        yield from [] if options.llama else [llama.format("no environment")]
        yield from [] if options.vllm else [vllm.format("vLLM and transformers")]
        return
    yield from [] if options.llama_server else [llama.format("no server")]
    yield from [] if options.vllm else [vllm.format("vLLM")]
    yield "transformers: not measured, its server takes no token ids as a prompt.\n"
    yield "Stoker was started warm: its engines had been built, as the GGUF files had. vLLM compiles at each start."


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Our CPU engine beside its peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.5, help="by when the last round is to end")
    parser.add_argument("--shape", choices=SHAPES, default=SHAPE)
    parser.add_argument("--http", action="store_true", help="each as the server that it comes with")
    parser.add_argument("--llama", default="", metavar="PYTHON", help="with llama-cpp-python, gguf and numpy")
    parser.add_argument("--llama-server", default="", metavar="FILE", help="llama.cpp's server, for --http")
    parser.add_argument("--vllm", default="", metavar="PYTHON", help="with vLLM's CPU build and transformers")
    parser.add_argument("--quick", action="store_true", help="two small loads, to see that all of it runs")
    parser.add_argument("--only", default="", metavar="NAME,...", help="precisions, like int4,Q4_0")
    parser.add_argument("--loads", type=load_of, nargs="+", metavar="STREAMSxINxOUT", help="instead of the table's")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    return parser


def main() -> None:
    options = arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # closes what has been started
    until = time.monotonic() + 60 * options.minutes
    WORK.mkdir(parents=True, exist_ok=True)
    model = write_model(WORK / f"{options.shape}-shape", SHAPES[options.shape])
    everyone: list[Measured] = []
    try:
        for one in started(options, model):
            everyone.append(one)
        running = [one for one in everyone if not one.why]
        notes = [f"{one.peer.name} {one.peer.precision} was not measured: {one.why}." for one in everyone if one.why]
        notes += notes_on(options)
        loads = options.loads or (QUICK if options.quick else LOADS)
        found = measure(running, loads, options.rounds, until)
        notes += [f"{heading(load)}: not measured, for lack of time." for load in loads if load not in found]
        written = text(running, found, notes)
    finally:
        for one in everyone:
            one.close()
    print(written)
    if options.write:
        table.replace(*marks(options.shape, options.http), f"{written}\n")


if __name__ == "__main__":
    main()
