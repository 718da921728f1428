"""Our engine, driven directly: `python ours.py ENGINE_SETTINGS.json`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from loop import serve

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings

settings = EngineSettings.read(Path(sys.argv[1]))
runtime = PagedRuntime(settings)


def generate(prompts: Sequence[Sequence[int]], new: int) -> None:
    running = [runtime.add(Generation(str(place), prompt, new)) for place, prompt in enumerate(prompts)]
    while running:
        runtime.step()
        running = [sequence for sequence in running if not sequence.read().ended]


computed = settings.chosen.activation_precision
serve(generate, {"version": f"OpenVINO GenAI {version('openvino-genai')}, kernels in {computed}"})
