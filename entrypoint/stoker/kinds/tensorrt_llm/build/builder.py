"""A compiled engine: the plan's steps in a temporary directory of their own, and what they took."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.build.child import Lines
from stoker.build.companions import copy_companions
from stoker.build.jobs import Job
from stoker.child_environment import child_environment
from stoker.errors import BuildError
from stoker.kinds.tensorrt_llm import KIND as ENGINE_KIND
from stoker.kinds.tensorrt_llm.build.calibration import write_dataset
from stoker.kinds.tensorrt_llm.build.commands import CALIBRATION, CHECKPOINT, MODEL, Order, Step, steps
from stoker.kinds.tensorrt_llm.build.failure import failed
from stoker.kinds.tensorrt_llm.build.offered import offer
from stoker.kinds.tensorrt_llm.build.output import Reader
from stoker.kinds.tensorrt_llm.build.process import Ran, run_tool
from stoker.kinds.tensorrt_llm.build.tools import KIND, Tools, find_tools
from stoker.kinds.tensorrt_llm.build.vocabulary import write_vocabulary
from stoker.kinds.tensorrt_llm.files import ENGINE
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue, load_nvidia
from stoker.kinds.tensorrt_llm.plan.host import memory_enough
from stoker.launch.death import out_of_memory_kills
from stoker.plan.units import size_text
from stoker.probe.visible_devices import visible_to_cuda
from stoker.resolve.nemo import SUFFIX

_NAMES = {"convert": "TensorRT-LLM's converter", "quantize": "TensorRT-LLM's quantize.py", "build": "trtllm-build"}
_LOGS = "logs"
_CHECKED = "1.2."
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Bench:
    """Where the tools work, and for whom."""

    job: Job
    tools: Tools
    folder: Path
    lines: Lines
    catalogue: Catalogue

    @property
    def ranks(self) -> int:
        return self.job.chosen.tensor_parallel * self.job.chosen.pipeline_parallel

    def command(self, step: Step) -> list[str]:
        if step.tool == "build":
            return [str(self.tools.build), *step.arguments]
        script = self.tools.quantize if step.tool == "quantize" else self.tools.convert(step.folder)
        return [str(self.tools.python), str(script), *step.arguments]

    def environment(self, step: Step) -> dict[str, str]:
        """What the tools leave beside their output goes into the folder too; nothing is downloaded."""
        inherited = [path for path in (str(self.tools.examples.parent), os.environ.get("PYTHONPATH", "")) if path]
        own = {
            **dict.fromkeys(_OFFLINE, "1"),
            "HF_HOME": str(self.folder / "hf"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": os.pathsep.join(inherited),  # some converters import their neighbours as `examples`
            "PYTHONUNBUFFERED": "1",
        }
        return child_environment({**own, **visible_to_cuda(self.job.site.gpus), **step.environment})


def build(job: Job, lines: Lines) -> dict[str, Any]:
    """Fills the job's directory and returns what engine.json says of it. Raises BuildError, OutOfMemoryError."""
    directory = Path(job.directory)
    with work_folder(directory.parent) as folder:
        bench = Bench(job, find_tools(), folder, lines, load_nvidia())
        _note_version(lines)
        order = _order(bench)
        companions = _companions(job, directory)  # first: a tokenizer that cannot be used is known before the work
        record: dict[str, Any] = {"precision": job.chosen.precision, "companions": companions, "steps": []}
        for number, step in enumerate(steps(order), 1):
            if step.tool == "quantize":
                source = Path(job.calibration) if job.calibration else None
                record["calibration"] = write_dataset(folder / CALIBRATION, source)
            record["steps"].append(run_step(bench, step, f"step {number} of 2"))
        for name in (ENGINE, _LOGS):
            (folder / name).rename(directory / name)
    taken = record["steps"]
    record["seconds"] = {step["tool"]: step["seconds"] for step in taken}
    record["peak_rss_bytes"] = max(step["peak_rss_bytes"] for step in taken)
    return record


def _note_version(lines: Lines) -> None:
    found = ENGINE_KIND.build.versions().get("tensorrt-llm", "of an unknown version")
    if not found.startswith(_CHECKED):
        lines.note(f"TensorRT-LLM {found}: its flags were checked against {_CHECKED}x only")


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """For the tools to work in; gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="work-"))
    for name in ("tmp", _LOGS):
        (folder / name).mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _order(bench: Bench) -> Order:
    """Also gives the tools the model by a short name."""
    job, catalogue = bench.job, bench.catalogue
    architecture = job.model.architecture.name
    converter = catalogue.converters.get(architecture)
    if converter is None or job.model.directory is None:
        raise BuildError(f"{job.model.served_name} cannot be compiled", why=f"no converter reads {architecture} here")
    archives = [name for name in job.model.files if name.endswith(SUFFIX)]
    if archives:
        (bench.folder / MODEL).symlink_to(job.model.directory / archives[0])
    else:
        offer(job.model.directory, bench.folder / MODEL)
    paged = (job.chosen.kv_precision, job.chosen.precision) not in catalogue.kinds[KIND].without_paging
    return Order(job.model, job.chosen, converter, min(job.site.ranks_at_once, bench.ranks), paged)


def run_step(bench: Bench, step: Step, place: str) -> dict[str, Any]:
    """What engine.json says of it; `place` is for people. Raises BuildError, OutOfMemoryError."""
    reader = Reader(step.tool, bench.ranks)
    lines, log = bench.lines, bench.folder / _LOGS / f"{step.tool}.log"

    def tell() -> None:
        lines.phase("building", f"{place}, {reader.doing}")
        lines.advance(reader.done, reader.total, "milestones")

    def hear(line: str) -> None:
        if reader.read(line):
            tell()

    tell()
    kills, command = out_of_memory_kills(), bench.command(step)
    ran = run_tool(command, bench.folder, bench.environment(step), log, hear)
    error = _failure(bench, step, ran, killed_for_memory=out_of_memory_kills() > kills)
    if error is not None:
        raise _with_log(bench, step, error)
    return {
        "tool": step.tool,
        "command": command,
        "seconds": ran.seconds,
        "peak_rss_bytes": ran.peak_bytes,
        **reader.figures,
    }


def _failure(bench: Bench, step: Step, ran: Ran, *, killed_for_memory: bool) -> BuildError | None:
    if ran.code:
        needed = memory_enough(bench.catalogue.kinds[KIND], bench.job.model)
        return failed(_NAMES[step.tool], ran, killed_for_memory, size_text(needed))
    missing = _missing(bench, step)
    if missing:
        return BuildError(f"{_NAMES[step.tool]} ended without an error, but left no {missing}")
    return None


def _with_log(bench: Bench, step: Step, error: BuildError) -> BuildError:
    log = _kept_log(bench, step)
    remedy = "; ".join(part for part in (error.remedy, f"all that it said: {log}" if log else "") if part)
    return type(error)(error.what, why=error.why, remedy=remedy)


def _kept_log(bench: Bench, step: Step) -> Path | None:
    """Moved to where the job wants the logs of failed builds."""
    if not bench.job.site.logs:
        return None
    kept = Path(bench.job.site.logs)
    kept.mkdir(parents=True, exist_ok=True)
    shutil.move(bench.folder / _LOGS / f"{step.tool}.log", kept / f"{step.tool}.log")
    return kept / f"{step.tool}.log"


def _missing(bench: Bench, step: Step) -> str:
    """The first file that the next step, or the server, will not find; empty where all are there."""
    folder, name = (ENGINE, "rank{}.engine") if step.tool == "build" else (CHECKPOINT, "rank{}.safetensors")
    wanted = step.leaves or ("config.json", *(name.format(rank) for rank in range(bench.ranks)))
    return next((each for each in wanted if not (bench.folder / folder / each).is_file()), "")


def _companions(job: Job, directory: Path) -> list[str]:
    assert job.model.directory is not None
    write_vocabulary(job.model.directory, directory)
    return copy_companions(job.model.directory, directory)
