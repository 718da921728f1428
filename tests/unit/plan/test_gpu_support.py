"""docs/nvidia.md's support tables: written from the profiles, and what the planner does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.kinds.tensorrt_llm.plan.kind import tensorrt_llm
from stoker.kinds.tensorrt_llm.plan.rules import WEIGHTS
from stoker.kinds.tensorrt_llm.plan.support import support_tables
from stoker.plan.devices import Place, pools
from stoker.plan.kind import Question
from stoker.plan.selection import judge
from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.resolve.model import Model, Quantization

TEXT = (Path(__file__).parents[3] / "docs" / "nvidia.md").read_text()
CATALOGUE = load_nvidia()
KINDS = {"C": "tensorrt_llm", "P": "tensorrt_llm_pytorch"}
MACHINES = {(8, 0): "1xA100", (8, 6): "1xA10G", (8, 9): "1xL4", (9, 0): "1xH100", (10, 0): "1xB200", (10, 3): "1xB300",
            (12, 0): "1xRTX-PRO-6000", (12, 1): "GB10"}  # fmt: skip
CHECKPOINTS: tuple[Quantization | None, ...] = (
    None,
    Quantization("mxfp4", 4, 0, {}),
    Quantization("gptq", 4, 128, {"desc_act": False}),
    Quantization("fp8", 8, 0, {"weight_block_size": [128, 128]}),
)


def rows(first: str) -> dict[str, dict[str, str]]:
    """The cells of a table as documented, by row and precision."""
    table = TEXT.partition(f"| {first} | f16 |")[2].partition("\n\n")[0].splitlines()[2:]
    split = [[cell.strip() for cell in re.split(r"(?<= )?\|", line)[1:-1]] for line in table]
    return {cells[0]: dict(zip(WEIGHTS, cells[1:], strict=True)) for cells in split}


GPUS = {tuple(map(int, re.findall(r"\((\d+)\.(\d+)\)$", name)[0])): cells for name, cells in rows("GPU").items()}
FAMILIES = {name.partition(":")[2].partition(",")[0].strip(): cells for name, cells in rows("family").items()}


def test_the_document_has_the_tables_as_they_are_now():
    assert support_tables() in TEXT, "run python tools/write_docs.py"


def test_every_machine_is_in_the_table():
    assert set(GPUS) == set(MACHINES)
    assert len(FAMILIES) == 13


@pytest.mark.parametrize("capability", sorted(MACHINES))
def test_the_planner_does_what_the_tables_say(capability, model):
    """Of every family and precision, from whatever checkpoint it is made."""
    (pool,) = pools(load_description(MACHINES[capability]))
    for family, cells in FAMILIES.items():
        possible = {
            each for one in CHECKPOINTS for each in offered(pool, of_family(model("llama-3.1-8b"), family, one))
        }
        documented = {
            (kind, precision)
            for letter, kind in KINDS.items()
            for precision in WEIGHTS
            if letter in cells[precision] and letter in GPUS[capability][precision]
        }
        assert possible == documented, family


def of_family(one: Model, family: str, quantization: Quantization | None) -> Model:
    name = family if "For" in family else f"{family}ForCausalLM"
    return replace(one, architecture=replace(one.architecture, name=name), quantization=quantization)


def offered(pool: Any, one: Model) -> set[tuple[str, str]]:
    machine = load_description("1xL4")
    question, place = Question(machine, one, Overrides(), "throughput", 8192), Place(machine.cpu, pool)
    kinds = [tensorrt_llm(CATALOGUE, name) for name in KINDS.values()]
    return {(each.kind.name, each.profile.precision) for each in judge(kinds, question, place) if each.possible}
