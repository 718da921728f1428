"""A checkpoint that is quantised before TensorRT-LLM's PyTorch backend loads it, by TensorRT-LLM's own quantize.py."""

from __future__ import annotations

from pathlib import Path

from stoker.build.child import Lines
from stoker.build.companions import copy_companions
from stoker.build.jobs import Job
from stoker.kinds.tensorrt_llm.build.builder import Bench, run_step, work_folder
from stoker.kinds.tensorrt_llm.build.calibration import write_dataset
from stoker.kinds.tensorrt_llm.build.commands import CALIBRATION, CHECKPOINT, MODEL, quantize_for_pytorch
from stoker.kinds.tensorrt_llm.build.offered import offer
from stoker.kinds.tensorrt_llm.build.tools import find_tools
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia


def is_quantised_here(job: Job) -> bool:
    """The plan's precision is not what the checkpoint has."""
    return job.model.quantization is None and job.chosen.precision not in ("f16", "bf16")


def quantised_checkpoint(job: Job, target: Path, lines: Lines) -> dict[str, object]:
    """Makes `target`, with the model's own tokenizer beside the weights; returns what engine.json says of it."""
    assert job.model.directory is not None
    with work_folder(target.parent.parent) as folder:
        offer(job.model.directory, folder / MODEL)
        source = Path(job.calibration) if job.calibration else None
        calibration = write_dataset(folder / CALIBRATION, source)
        bench = Bench(job, find_tools(), folder, lines, load_nvidia())
        step = run_step(bench, quantize_for_pytorch(job.chosen), "quantising")
        config = (folder / CHECKPOINT / "config.json").read_bytes()
        copy_companions(job.model.directory, folder / CHECKPOINT)
        (folder / CHECKPOINT / "config.json").write_bytes(config)  # its own says how it is quantised
        (folder / CHECKPOINT).rename(target)
    return {"calibration": calibration, "steps": [step]}
