"""Makes an engine of the kind `vllm`, in a process of its own (stoker.build.child).

The engine is the checkpoint, whose weights are linked to, and all that vLLM compiles for this plan on this GPU: it is
started once with the plan's arguments, and what it leaves in its caches is kept, so that no later start compiles.
"""

from __future__ import annotations

import shutil
import sys
import time
from array import array
from collections.abc import Mapping
from pathlib import Path

import msgspec

from stoker.build.child import Lines, run_worker
from stoker.build.companions import copy_companions, link_file
from stoker.build.jobs import Job
from stoker.errors import BuildError, EngineError, EngineMemoryError, OutOfMemoryError
from stoker.kinds.vllm.arguments import engine_arguments, environment, pooler_arguments
from stoker.kinds.vllm.build.compiled import take_kernels
from stoker.kinds.vllm.plan.memory import kv_bytes_per_token
from stoker.kinds.vllm.runtime import link
from stoker.kinds.vllm.runtime.kernels import pack_kernels
from stoker.kinds.vllm.runtime.params import SequenceParams
from stoker.kinds.vllm.runtime.process import (
    BYTECODE,
    CACHE,
    CHECKPOINT,
    DRAFT,
    FLASHINFER,
    KERNELS,
    SETTINGS,
    HostProcess,
    Launch,
    bytecode_environment,
    interpreter,
    prepare,
)
from stoker.kinds.vllm.runtime.requests import TASKS
from stoker.launch import frames
from stoker.launch.frames import read_frame
from stoker.plan.devices import Split
from stoker.plan.speculation import OFF
from stoker.plan.types import TEXT, Chosen
from stoker.resolve.checkpoint import INDEX
from stoker.resolve.model import Model

_HOST = "host"
_SPARE_TOKENS = 1024  # of KV cache, beyond one sequence of the full length
# One of each way to choose a token: kernels that vLLM compiles when they are first needed belong into the engine too.
_TRIALS = (
    SequenceParams(max_tokens=2),
    SequenceParams(max_tokens=2, log_probs=True),
    SequenceParams(max_tokens=2, temperature=0.8, top_p=0.9, top_k=20, min_p=0.01, seed=1),
    SequenceParams(max_tokens=2, temperature=0.8, presence_penalty=0.1, frequency_penalty=0.1, repetition_penalty=1.1),
    SequenceParams(max_tokens=2, top_log_probs=4, prompt_log_probs=1),
)


def build_job(job: Job, lines: Lines) -> dict[str, object]:
    started = time.monotonic()
    directory = Path(job.directory)
    lines.phase("building", "linking the checkpoint")
    linked = link_checkpoint(job.model, directory, CHECKPOINT)
    if job.draft is not None:
        linked += link_checkpoint(job.draft, directory, DRAFT)
    quantized = job.model.config.get("quantization_config") is not None
    pooler = pooler_arguments(job.model.pooling)
    Launch(pooler, quantized=quantized).write(directory / SETTINGS)
    if job.chosen.nodes > 1:  # compiled at each start: here is one machine of several
        return {"seconds": round(time.monotonic() - started, 3), "linked": linked, "vllm": {}}
    lines.phase("building", "starting vLLM once, so that it compiles")
    facts = compile_once(job, directory, quantized, pooler)
    return {"seconds": round(time.monotonic() - started, 3), "linked": linked, "vllm": facts}


def link_checkpoint(model: Model, directory: Path, folder: str) -> list[str]:
    """Into a folder of its own, as vLLM wants one; the API process finds tokenizer and templates in the engine's."""
    source, checkpoint = model.directory, directory / folder
    assert source is not None
    checkpoint.mkdir()
    if folder == CHECKPOINT:
        copy_companions(source, directory)
    copy_companions(source, checkpoint)
    names = [name for name in (*model.weights.files, INDEX) if (source / name).exists()]
    for name in names:
        link_file(source / name, checkpoint / name)
    return names


def compile_once(job: Job, directory: Path, quantized: bool, pooler: Mapping[str, object]) -> dict[str, object]:
    """Leaves the caches in the engine's directory."""
    folder = directory / _HOST
    arguments = {**engine_arguments(job.chosen, least_kv_bytes(job), quantized), **pooler}
    prepare(folder, directory / CHECKPOINT, None, Launch(arguments, environment(job.chosen)))
    take_kernels(map(Path, job.site.alike), folder / CACHE / KERNELS)
    bytecode = bytecode_environment(directory / BYTECODE, write=True)
    host = HostProcess(folder, interpreter(), bytecode, job.site.gpus)
    try:
        connection, facts = host.connect()
        for number, params in enumerate(trials(job.chosen)):
            try_out(connection, number, params)
        connection.close()
    except EngineMemoryError as error:
        raise OutOfMemoryError(error.what, why=error.why, remedy=error.remedy) from error
    except EngineError as error:
        raise BuildError(error.what, why=error.why, remedy=error.remedy) from error
    finally:
        host.stop()
    keep_caches(folder / CACHE, directory / CACHE)
    shutil.rmtree(folder)
    return facts


def trials(chosen: Chosen) -> list[SequenceParams]:
    """Beside guesses vLLM knows no min_p."""
    if chosen.purpose != TEXT:
        return [SequenceParams(task=TASKS[chosen.purpose])]
    return [params if chosen.speculative == OFF else msgspec.structs.replace(params, min_p=None) for params in _TRIALS]


def least_kv_bytes(job: Job) -> int:
    """Enough for one sequence of the full length: how large the cache is matters to no compiled artifact."""
    tokens = job.chosen.max_seq_len + _SPARE_TOKENS
    split = Split(job.chosen.tensor_parallel, job.chosen.pipeline_parallel)
    models = (job.model, job.draft) if job.draft else (job.model,)
    return tokens * sum(kv_bytes_per_token(each, job.chosen.kv_precision, split) for each in models)


def try_out(connection: link.Link, number: int, params: SequenceParams) -> None:
    """EngineError unless a short request is answered."""
    prompt = array("i", range(2, 18)).tobytes()
    connection.send(link.ADD, 1, number, prompt, msgspec.to_builtins(params))
    while (message := connection.receive()) is not None:
        if message[0] == link.FAILED:
            raise EngineError("vLLM failed on its first requests", why=str(message[2]))
        packed = [message[1:]] if message[0] == link.FRAME else message[4]
        for frame in (read_frame(each[1]) for each in packed):
            for place, _, reason, _, _ in frame:
                if reason in (frames.REFUSED, frames.FAILED):
                    why = str(frame.extras.get(place, {}).get("error"))
                    raise EngineError("vLLM refused its first requests", why=why)
                if reason != frames.RUNNING:
                    return
    raise EngineError("vLLM ended during its first requests", why="see its log above")


def keep_caches(made: Path, kept: Path) -> None:
    """Without lock files and links, of which an engine's manifest knows nothing."""
    pack_kernels(made / FLASHINFER, made / KERNELS)
    kept.mkdir()
    if made.exists():
        ignore = shutil.ignore_patterns("*.lock", "locks", "*.pid", "tmp*")
        shutil.copytree(made, kept, ignore=ignore, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(run_worker(build_job, tidies_up=True))
