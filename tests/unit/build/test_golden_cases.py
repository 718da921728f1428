"""No family is half there: each has a case, each case its reference, and docs/architectures.md names them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.loading import load

from stoker.kinds.openvino.build.families import SUPPORTED

ROOT = Path(__file__).parents[3]
CASES: tuple[Any, ...] = load("golden_cases", ROOT / "tools/goldens/cases.py").CASES
PAGE = (ROOT / "docs/architectures.md").read_text()


def test_every_architecture_has_a_case() -> None:
    assert {case.config["architectures"][0] for case in CASES} == SUPPORTED.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_the_reference_was_made_from_the_case_as_it_is(case: Any) -> None:
    with np.load(ROOT / f"tests/integration/goldens/reference/{case.name}.npz") as file:
        facts = json.loads(str(file["facts"]))
        prompts = tuple(len(file[f"prompt_{index}"]) for index in range(facts["prompts"]))
    assert facts["config"] == case.config
    assert (prompts, facts["max_seq_len"], facts["embedding_gain"]) == (
        case.prompts,
        case.max_seq_len,
        case.embedding_gain,
    )


def test_the_page_lists_every_architecture_and_case() -> None:
    named = [f"| `{name}` |" for name in SUPPORTED] + [f"| {case.name} |" for case in CASES]
    assert [row for row in named if row not in PAGE] == []
