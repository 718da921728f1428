"""Plans for three machines, as `stoker plan` prints them: the generated part of docs/terminal.md."""

from __future__ import annotations

from collections.abc import Iterator

from write_manifests import hub_model

from stoker.deploy.deployment import image_for
from stoker.kinds import own_kinds
from stoker.plan.planner import make_plan
from stoker.plan.render import render_plan
from stoker.plan.types import Overrides
from stoker.probe.description import load_description

CASES = (
    ("cpu:16c-64g-avx512_bf16", "Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
    ("T4", "Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
    ("8xH100-80GB", "meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b"),
)


def examples() -> Iterator[str]:
    """A command and what it prints, for each case; by Stoker's own kinds, whatever else is installed."""
    kinds = own_kinds()
    for machine, name, config in CASES:
        model, planning = hub_model(name, config), [kind.planning() for kind in kinds.values()]
        plan = make_plan(load_description(machine), model, planning, Overrides())
        image = image_for(plan, kinds[plan.chosen.engine].deploy.images)
        yield f"\n```\n$ stoker plan {name} --machine {machine}\n{render_plan(plan, image=image)}\n```\n"
