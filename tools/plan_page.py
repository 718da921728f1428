"""Plans for three machines, as `stoker plan` prints them: the generated part of docs/terminal.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from stoker.attributes import attribute
from stoker.deploy.deployment import image_for
from stoker.kinds import OWN
from stoker.kinds.kind import EngineKind
from stoker.plan.planner import make_plan
from stoker.plan.render import render_plan
from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.resolve.facts import architecture_facts
from stoker.resolve.model import Model
from stoker.resolve.weights import computed_weights

CONFIGS = Path(__file__).resolve().parent.parent / "tests" / "unit" / "configs"
CASES = (
    ("cpu:16c-64g-avx512_bf16", "Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
    ("T4", "Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
    ("8xH100-80GB", "meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b"),
)


def examples() -> Iterator[str]:
    """A command and what it prints, for each case; by Stoker's own kinds, whatever else is installed."""
    kinds: dict[str, EngineKind] = {kind.name: kind for kind in (attribute(path) for path in OWN)}
    for machine, name, config in CASES:
        plan = make_plan(
            load_description(machine), model_of(name, config), [kind.planning() for kind in kinds.values()], Overrides()
        )
        image = image_for(plan, kinds[plan.chosen.engine].deploy.images)
        yield f"\n```\n$ stoker plan {name} --machine {machine}\n{render_plan(plan, image=image)}\n```\n"


def model_of(name: str, config: str) -> Model:
    """Of the configuration that its repository has; the weights' sizes are computed."""
    document = json.loads((CONFIGS / f"{config}.json").read_text())
    architecture = architecture_facts(document)
    return Model(name, name, "", architecture, computed_weights(document, architecture, None), document)
