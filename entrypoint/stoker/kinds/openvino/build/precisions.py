"""Precision names and how each is built."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import openvino as ov

from stoker.build.companions import copy_companions
from stoker.errors import BuildError, UnsupportedModelError
from stoker.kinds.openvino.build.blocks import usable_cores
from stoker.kinds.openvino.build.builder import build_graph
from stoker.kinds.openvino.build.calibrated import Calibration, CompressedEnds
from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.kinds.openvino.build.eagle3 import build_head
from stoker.kinds.openvino.build.encoder import build_pooled
from stoker.kinds.openvino.build.encoding import Checkpoint, Encoding, Tensor
from stoker.kinds.openvino.build.int4 import Int4, Int4Full
from stoker.kinds.openvino.build.int8 import Int8
from stoker.kinds.openvino.build.plain import NATIVE, PlainEncoding
from stoker.kinds.openvino.build.prequantized import Prequantized, packing_of
from stoker.kinds.openvino.build.save import save_graph, write_targets
from stoker.plan.types import Chosen
from stoker.progress import Progress
from stoker.resolve.model import Model

PLAIN = tuple(NATIVE)
CALIBRATED = ("int4_awq", "int4_gptq", "int8_sq")
PRECISIONS = (*PLAIN, "int8", "int4", "int4_full", *CALIBRATED)
NOT_FOR_EXPERTS = {
    "int4_gptq": "NNCF's GPTQ cannot take matrices of several experts in one constant",
    "int8_sq": "OpenVINO's CPU plugin would unpack the experts to bf16 when it loads them",
}
RECORDED_VERSIONS = ("openvino", "nncf", "numpy")


@dataclass
class Stages:
    """Seconds that each stage of a build took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 3)

    def split(self, name: str, part: str, seconds: float) -> None:
        """Counts `seconds` of the stage `name` as a stage of its own."""
        self.seconds[part] = round(seconds, 3)
        self.seconds[name] = round(self.seconds[name] - seconds, 3)


class Counted:
    """A `Checkpoint` that reports the bytes of the tensors taken from it."""

    def __init__(self, checkpoint: Checkpoint, progress: Progress) -> None:
        self._checkpoint, self._progress = checkpoint, progress
        self._taken: set[str] = set()
        self._done = 0
        self._total = sum(checkpoint.tensor(name).data.nbytes for name in checkpoint.names())

    def __contains__(self, name: str) -> bool:
        return name in self._checkpoint

    def tensor(self, name: str) -> Tensor:
        tensor = self._checkpoint.tensor(name)
        if name not in self._taken:
            self._taken.add(name)
            self._done += tensor.data.nbytes
            self._progress.advance(self._done, self._total)
        return tensor

    def names(self) -> Sequence[str]:
        return self._checkpoint.names()


def build(
    model: Model,
    chosen: Chosen,
    directory: Path,
    progress: Progress,
    calibration: Path | None = None,
    *,
    seen: Sequence[int] = (),
) -> dict[str, object]:
    """Builds the engine of `model` into `directory` and returns what engine.json records of it. `seen`: layers whose
    inputs an EAGLE-3 head sees.

    Raises UnsupportedModelError, DamagedModelError, StorageError, and BuildError where the compiler fails.
    """
    if model.directory is None:
        raise BuildError(f"{model.reference} has no files here", why="only its facts were fetched")
    stages = Stages()
    progress.phase("building", f"{model.served_name} in {chosen.precision}")
    with stages.timed("graph"):
        encoding = encoding_for(model, chosen)
        checkpoint = Counted(open_checkpoint(model.directory), progress)
        layers = None
        if chosen.precision in CALIBRATED and not isinstance(encoding, Prequantized):
            layers = Calibration(model, chosen, calibration, checkpoint)
        graph = _graph(model, chosen, checkpoint, encoding, layers, seen)
    details = _details(encoding)
    if layers is not None:
        stages.split("graph", "calibrate", layers.seconds)
        details.update(layers.record())
    progress.phase("building", "writing the engine")
    with stages.timed("save"):
        size = save_graph(graph, directory)
        if chosen.max_loras:
            write_targets(graph, directory)
        files = copy_companions(model.directory, directory)
    return {
        "precision": chosen.precision,
        **details,
        "seconds": stages.seconds,
        "graph_bytes": size,
        "peak_rss_bytes": peak_rss_bytes(),
        "companions": files,
        "versions": recorded_versions(),
    }


def _graph(
    model: Model,
    chosen: Chosen,
    checkpoint: Checkpoint,
    encoding: Encoding,
    layers: Calibration | None,
    seen: Sequence[int],
) -> ov.Model:
    if model.pooling is not None:
        return build_pooled(model.config, checkpoint, encoding, model.pooling, chosen.max_seq_len)
    few_rows = chosen.precision == "bf16"
    return build_graph(
        model.config,
        checkpoint,
        encoding,
        chosen.max_seq_len,
        layers,
        few_rows=few_rows,
        adapters=bool(chosen.max_loras),
        seen=seen,
    )


def build_eagle3(head: Model, model: Model, chosen: Chosen, directory: Path, progress: Progress) -> dict[str, object]:
    """Builds the head that guesses the tokens of `model`; `chosen` is how. Raises what `build` does."""
    assert head.directory is not None
    progress.phase("building", f"{head.served_name} in {chosen.precision}")
    encoding = encoding_for(head, chosen)
    checkpoint = Counted(open_checkpoint(head.directory), progress)
    graph = build_head(head.config, model.architecture.layers, checkpoint, encoding, chosen.max_seq_len)
    return {"precision": chosen.precision, "graph_bytes": save_graph(graph, directory)}


def encoding_for(model: Model, chosen: Chosen) -> Encoding:
    """A checkpoint that is already quantised keeps its integers, and can be built in 4 bits only."""
    if chosen.precision not in PRECISIONS:
        raise UnsupportedModelError(
            f"precision {chosen.precision} is not one of the openvino engine's", remedy=f"use {', '.join(PRECISIONS)}"
        )
    threads = max(1, min(chosen.threads, usable_cores()))
    if model.quantization is not None:
        packing = packing_of(model.quantization)
        if chosen.precision not in ("int4", f"int4_{packing.method}"):
            raise UnsupportedModelError(
                f"{model.served_name} is already quantised with {packing.method} in 4 bits",
                why=f"{chosen.precision} would have to be computed from the lost original weights",
                remedy=f"use --precision int4_{packing.method}, or the model's unquantised checkpoint",
            )
        return Prequantized(threads, packing)
    _refuse_experts(model, chosen.precision)
    if chosen.precision == "int8":
        return Int8(threads)
    if chosen.precision == "int4":
        return Int4(threads, chosen.group_size)
    if chosen.precision == "int4_full":
        return Int4Full(threads, chosen.group_size)
    if chosen.precision in ("int4_awq", "int4_gptq"):
        return CompressedEnds(_native(model), threads)
    return PlainEncoding(chosen.precision if chosen.precision in PLAIN else _native(model))


def _refuse_experts(model: Model, precision: str) -> None:
    why = NOT_FOR_EXPERTS.get(precision)
    if model.architecture.experts and why:
        raise UnsupportedModelError(
            f"{precision} is not supported for mixtures of experts", why=why, remedy="use int8, int4 or int4_awq"
        )


def _native(model: Model) -> str:
    """The precision that most of the checkpoint is in, which then needs no copy of it."""
    sizes = {name: model.weights.bytes_by_dtype.get(dtype, 0) for name, dtype in NATIVE.items()}
    return max(sizes, key=lambda name: sizes[name])


def _details(encoding: Encoding) -> dict[str, object]:
    if isinstance(encoding, Int4):
        return {"group_sizes": {str(size): count for size, count in encoding.groups.items()}}
    if isinstance(encoding, Prequantized):
        return {"repacked": {"method": encoding.packing.method, "matrices": encoding.repacked}}
    return {}


def peak_rss_bytes() -> int:
    """The most memory this process has held so far; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def recorded_versions() -> dict[str, str]:
    found = {"openvino": str(ov.get_version())}
    for name in RECORDED_VERSIONS[1:]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
