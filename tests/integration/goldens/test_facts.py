"""The planner's facts about each case: its parameters are those that transformers saves, its windows the graph's."""

from __future__ import annotations

import math

import golden_run
import pytest
from golden_run import Golden

from stoker.kinds.openvino.build.families import describe
from stoker.resolve.facts import architecture_facts
from stoker.resolve.parameters import count_parameters


@pytest.mark.parametrize("name", golden_run.names())
def test_the_planner_counts_the_parameters_that_are_saved(name: str) -> None:
    golden = golden_run.load(name)
    config = golden.facts["config"]
    assert count_parameters(config, architecture_facts(config)).total == saved(golden)


@pytest.mark.parametrize("name", golden_run.names())
def test_the_planner_finds_the_windows_that_the_graph_has(name: str) -> None:
    config = golden_run.load(name).facts["config"]
    facts = architecture_facts(config)
    windows = [layer.attention.window for layer in describe(config).layers if layer.attention.window is not None]
    assert [facts.sliding_window] * facts.sliding_layers == windows


def saved(golden: Golden) -> int:
    """Of the decoder, not of towers beside it."""
    ignored = describe(golden.facts["config"]).ignored
    return sum(math.prod(shape) for name, shape in golden.facts["shapes"].items() if not name.startswith(ignored))
