"""An engine compiled by TensorRT-LLM, as the supervisor drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stoker.errors import EngineError
from stoker.kinds.tensorrt_llm.files import ENGINE, VOCABULARY
from stoker.kinds.tensorrt_llm.runtime.model_config import write_compiled_repository
from stoker.kinds.tensorrt_llm.runtime.packages import gpu_environment
from stoker.kinds.tensorrt_llm.runtime.parameters import AdapterCache, Served, paged_context
from stoker.kinds.tensorrt_llm.runtime.ranks import under_mpirun
from stoker.launch import shared_memory
from stoker.launch.installation import find_image
from stoker.launch.kind import Child, alone
from stoker.launch.loading import read_bytes
from stoker.launch.run_directory import RunDirectory
from stoker.launch.servable import Limits
from stoker.launch.server import Command, TritonServer
from stoker.launch.settings import settings_for
from stoker.plan.formulas import bytes_per_rank
from stoker.plan.types import Chosen, KvPool
from stoker.probe.visible_devices import visible_to_cuda
from stoker.resolve.facts import architecture_facts
from stoker.resolve.json_files import read_json
from stoker.resolve.numbers import CONFIG_FILE
from stoker.store.engine import Engine

BACKEND = "tensorrtllm"
_RUNTIME = "stoker.kinds.tensorrt_llm.runtime.executor:ExecutorRuntime"
_EXIT_SECONDS = 5
_ADAPTER_WIDTH = 2  # bytes: f16 or bf16


@dataclass(frozen=True)
class CompiledEngine:
    """`directory` holds rankN.engine. `gpus`: what CUDA_VISIBLE_DEVICES is to name, rank by rank; empty to leave it."""

    directory: Path
    chosen: Chosen
    kv: KvPool
    gpus: tuple[str, ...] = ()

    @property
    def ranks(self) -> int:
        return self.chosen.tensor_parallel * self.chosen.pipeline_parallel

    @property
    def limits(self) -> Limits:
        chosen = self.chosen
        longest = min(chosen.max_seq_len, self.kv.tokens)
        return Limits(chosen.max_num_tokens, longest, chosen.max_batch_size)

    @property
    def total_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.directory.glob("rank*.engine"))

    def command(self, run: RunDirectory) -> Command:
        installation = find_image(BACKEND)
        backends = installation.backend.parent
        worker = backends / BACKEND / "trtllmExecutorWorker"
        vocabulary = self.directory.parent / VOCABULARY
        guided = str(vocabulary) if vocabulary.is_file() else ""
        served = Served(
            engine_directory=str(self.directory),
            worker=str(worker),
            kv_tokens=self.kv.tokens,
            paged_context=paged_context(self.chosen),
            vocabulary=guided,
            dtype=self.chosen.activation_precision,
            adapters=adapter_cache(self.directory.parent, self.chosen, self.kv),
        )
        return Command(
            installation,
            backends=backends,
            repository=write_compiled_repository(run.repository, served, self.chosen.max_batch_size),
            run_directory=run.path,
            shm_prefix=shared_memory.new_prefix(),
            exit_seconds=_EXIT_SECONDS,
            launcher=under_mpirun(self.ranks, _EXIT_SECONDS) if self.ranks > 1 else alone,
            environment=self._environment(run),
        )

    def _environment(self, run: RunDirectory) -> dict[str, str]:
        """mpirun's own files go into the run's directory, to be removed with it."""
        return {**visible_to_cuda(self.gpus), "TMPDIR": str(run.path)}

    def loaded_bytes(self, server: TritonServer) -> int:
        return sum(read_bytes(pid) for pid in server.pids())


def adapter_cache(directory: Path, chosen: Chosen, kv: KvPool) -> AdapterCache | None:
    """`directory`: the stored engine's, which has the model's config.json. None for an engine without adapters."""
    if not chosen.max_loras:
        return None
    architecture = architecture_facts(read_json(directory / CONFIG_FILE))
    total = chosen.max_loras * chosen.max_lora_rank * bytes_per_rank(architecture, _ADAPTER_WIDTH)
    own = -(-total // chosen.pipeline_parallel)
    return AdapterCache(chosen.max_lora_rank, total, own / (own + kv.bytes))


def servable(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> CompiledEngine:
    """EngineError unless there is an engine for each rank."""
    found = CompiledEngine(engine.directory / ENGINE, chosen, kv, gpus)
    missing = [rank for rank in range(found.ranks) if not (found.directory / f"rank{rank}.engine").is_file()]
    if missing:
        raise EngineError("the engine is incomplete", why=f"no {found.directory / f'rank{missing[0]}.engine'}")
    return found


def child(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> Child:
    """A process for each rank."""
    ranks = chosen.tensor_parallel * chosen.pipeline_parallel
    return Child(
        settings_for(_RUNTIME, engine, chosen, kv),
        under_mpirun(ranks, _EXIT_SECONDS) if ranks > 1 else alone,
        gpu_environment(gpus),
    )
