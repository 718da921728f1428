"""Measures case after case, each served by a child of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.bench.load import run_round
from stoker.bench.memory import gpu_bytes_taken, server_memory
from stoker.bench.prompts import Prompts, request_body
from stoker.bench.server import HOST, Server, served
from stoker.bench.statistics import Round, summarise
from stoker.bench.types import Case, Load, Measured, NotRun, Start, Workload
from stoker.errors import StokerError
from stoker.event_loop import run_interruptible
from stoker.probe.machine import Machine
from stoker.probe.probe import probe_machine
from stoker.store.workspace import owned_directory

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """What every case serves. `arguments` are the user's own of `stoker serve`, without cache and profile."""

    model: str
    served_name: str
    vocabulary: int
    arguments: tuple[str, ...]
    cache: Path
    reuse: bool


def measure(case: Case, target: Target, workload: Workload, tell: Tell) -> Measured | NotRun:
    """`failed` where the server did not come up or did not last; the log's last words are the reason."""
    tell(f"{case.name}: starting ({case.profile})")
    try:
        (target.cache / "tmp").mkdir(parents=True, exist_ok=True)
        with owned_directory(target.cache / "tmp", "bench") as directory:
            return _measure(case, target, workload, directory, tell)
    except StokerError as error:
        return NotRun(case.kind, case.precision, str(error), failed=True)


def _measure(case: Case, target: Target, workload: Workload, directory: Path, tell: Tell) -> Measured:
    cache = target.cache if target.reuse else _fresh_cache(target, directory)
    arguments = [target.model, *target.arguments, "--cache", str(cache), "--profile", case.profile]
    arguments += ["--engine", case.kind, "--precision", case.precision, "--served-model-name", target.served_name]
    arguments += ["--speculative", case.speculative]
    machine = probe_machine()
    log = directory / "serve.log"
    cold = _cold_start(arguments, log, case, tell)
    with served(arguments, log) as server:
        tell(f"{case.name}: ready after {server.start.seconds:.1f} s")
        loads = tuple(_loads(server, target, workload, lambda line: tell(f"{case.name}, {line}")))
        memory = server_memory(server.pid, _gpu_bytes(machine))
        warm = server.start
    return Measured(
        case.kind,
        case.precision,
        case.profile,
        case.max_seq_len,
        case.max_batch_size,
        cold_start=cold,
        build_seconds=cold.of("building") if cold else None,
        warm_start=warm,
        memory=memory,
        loads=loads,
        speculative=case.speculative,
    )


def _cold_start(arguments: Sequence[str], log: Path, case: Case, tell: Tell) -> Start | None:
    """None where the engine was in the store: then it was no cold start."""
    with served(arguments, log) as server:
        if server.found_engine:
            return None
        tell(
            f"{case.name}: cold start {server.start.seconds:.1f} s, {server.start.of('building'):.1f} s of it building"
        )
        return server.start


def _gpu_bytes(before: Machine) -> int:
    return gpu_bytes_taken(before, probe_machine().gpus) if before.gpus else 0


def _fresh_cache(target: Target, directory: Path) -> Path:
    """A cache without engines that shares the downloads of the user's own."""
    fresh = directory / "cache"
    fresh.mkdir()
    (target.cache / "models").mkdir(exist_ok=True)
    (fresh / "models").symlink_to(target.cache.resolve() / "models")
    return fresh


def _loads(server: Server, target: Target, workload: Workload, tell: Tell) -> Iterator[Load]:
    for shared in workload.shared_prefixes:
        for streams in workload.streams:
            yield _load(server, target, workload, streams, shared, tell)


def _load(server: Server, target: Target, workload: Workload, streams: int, shared: int, tell: Tell) -> Load:
    """One round to warm up, whose figures are dropped, then the measured ones."""
    prompts = Prompts(target.vocabulary, workload.prompt_tokens, shared)

    def bodies(requests: int) -> list[list[bytes]]:
        return [[_request(target, prompts, workload) for _ in range(requests)] for _ in range(streams)]

    async def rounds() -> list[Round]:
        await run_round(HOST, server.port, bodies(1))
        return [await run_round(HOST, server.port, bodies(workload.requests)) for _ in range(workload.rounds)]

    load = replace(summarise(streams, shared, run_interruptible(rounds())), accepted=server.accepted())
    prefix = f", {shared} prompt tokens shared" if shared else ""
    tell(f"{streams} {'stream' if streams == 1 else 'streams'}{prefix}: {load.tokens_per_second:.1f} tokens/s")
    return load


def _request(target: Target, prompts: Prompts, workload: Workload) -> bytes:
    return request_body(target.served_name, prompts.take(), workload.output_tokens)
