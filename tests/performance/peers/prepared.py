"""What peers load, made once."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.performance.processes import WORK

HERE = Path(__file__).parent
CACHE = WORK / "cache"


def engine(model: Path, precision: str) -> Path:
    """Settings of our engine, which is then in the cache."""
    from tests.performance.__main__ import engine_settings

    return engine_settings(model, CACHE, precision)


def gguf(python: str, model: Path, stored: str) -> Path:
    """`python` has gguf; empty where the file has been written before."""
    path = WORK / "gguf" / f"{model.name}-{stored}.gguf"
    if not path.exists():
        if not python:
            raise SystemExit(f"{path} has to be written first: name a Python with gguf and numpy by --llama")
        path.parent.mkdir(exist_ok=True)
        passing = path.with_suffix(".part")
        subprocess.run([python, str(HERE / "gguf_model.py"), str(model), stored, str(passing)], check=True)
        passing.rename(path)
    return path
