"""An engine behind our own Python-backend model: its runtime lives in Triton's stub process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stoker.launch import shared_memory
from stoker.launch.capabilities import Tensors
from stoker.launch.installation import Installation, assemble_backends, find_installation
from stoker.launch.loading import engine_bytes, resident_bytes
from stoker.launch.repository import write_repository
from stoker.launch.run_directory import RunDirectory
from stoker.launch.servable import Limits
from stoker.launch.server import Command, TritonServer
from stoker.launch.settings import FILE_NAME, EngineSettings

_LINK = "engine"


@dataclass(frozen=True)
class PythonEngine:
    """`settings.run_directory` is filled in for each run. `weights` are the files that it reads into the stub's memory
    while it loads, by pattern; empty where they go elsewhere, so that nobody can see how far they are. `tensors` are
    those of the contract that the runtime takes and gives; `environment` is added to this process's own for the server;
    `order` arranges the folders in which the model looks for modules."""

    settings: EngineSettings
    weights: str
    tensors: Tensors
    find: Callable[[], Installation] = find_installation
    environment: Mapping[str, str] = field(default_factory=dict)
    order: Callable[[list[str]], list[str]] = list

    @property
    def limits(self) -> Limits:
        chosen = self.settings.chosen
        vocabulary = self.settings.vocabulary_size
        return Limits(chosen.max_num_tokens, self.settings.capacity, chosen.max_batch_size, vocabulary)

    @property
    def total_bytes(self) -> int:
        return engine_bytes(Path(self.settings.engine_directory), self.weights) if self.weights else 0

    def command(self, run: RunDirectory) -> Command:
        installation = self.find()
        settings = _for_the_stub(self.settings, run.path)
        settings.write(run.path)
        return Command(
            installation,
            backends=assemble_backends(installation, run.backends),
            repository=write_repository(
                run.repository, Path(FILE_NAME), settings.chosen.max_batch_size, self.tensors, self.order
            ),
            run_directory=run.path,
            shm_prefix=shared_memory.new_prefix(),
            environment={**self.environment, "TMPDIR": str(run.path)},
        )

    def loaded_bytes(self, server: TritonServer) -> int:
        stub = server.stub_pid()
        return 0 if stub is None or not self.weights else resident_bytes(stub)


def _for_the_stub(settings: EngineSettings, run: Path) -> EngineSettings:
    """With names that it can read.

    The stub's Python is isolated, which leaves it in the C locale: it takes every file's name for ASCII. What has
    another name it finds from its working directory, the run directory: the engine through a link there.
    """
    engine, directory = settings.engine_directory, str(run)
    if not engine.isascii():
        (run / _LINK).symlink_to(Path(engine).absolute())
        engine = _LINK
    return replace(settings, engine_directory=engine, run_directory=directory if directory.isascii() else ".")
