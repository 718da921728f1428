"""What an engine's runtime is given: one JSON file in the run directory, or a line to a rank."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stoker.json_text import parse_json
from stoker.plan.types import Chosen, KvPool, chosen_from
from stoker.store.engine import Engine

FILE_NAME = "engine-settings.json"
STUB_PID_FILE = "stub.pid"
LIFELINE = "STOKER_LIFELINE"  # the two ends of a pipe that the server and its stubs inherit: see stub/parent.py
PULSE_FILE = "pulse"


@dataclass(frozen=True)
class EngineSettings:
    """`runtime` is the `module:attribute` of a callable that takes these settings and returns a
    stoker.launch.stub.runtime.Runtime. `kv` is the whole cache of each device. `vocabulary_size`: rows of the
    embedding, which no token id may reach, and `token_types` those of an encoder's second table; 0 where the engine
    does not say. `run_directory` is filled in for each run."""

    runtime: str
    engine_directory: str
    chosen: Chosen
    kv: KvPool
    vocabulary_size: int = 0
    token_types: int = 0
    run_directory: str = ""

    @property
    def capacity(self) -> int:
        """Tokens that one sequence may have, prompt and answer together."""
        return min(self.kv.tokens, self.chosen.max_seq_len) if self.kv.blocks else self.chosen.max_seq_len

    def write(self, directory: Path) -> Path:
        path = directory / FILE_NAME
        path.write_text(json.dumps(asdict(self), indent=1))
        return path

    @staticmethod
    def read(path: Path) -> EngineSettings:
        return EngineSettings.of(parse_json(path.read_text()))

    @staticmethod
    def of(document: Mapping[str, Any]) -> EngineSettings:
        plan = {"chosen": chosen_from(document["chosen"]), "kv": KvPool(**document["kv"])}
        return EngineSettings(**{**document, **plan})


def settings_for(runtime: str, engine: Engine, chosen: Chosen, kv: KvPool) -> EngineSettings:
    """The runtime settings of a stored engine."""
    facts = engine.manifest.model.get("architecture", {})
    return EngineSettings(
        runtime,
        str(engine.directory),
        chosen,
        kv,
        vocabulary_size=int(facts.get("vocabulary_size", 0)),
        token_types=int(facts.get("token_types", 0)),
    )
