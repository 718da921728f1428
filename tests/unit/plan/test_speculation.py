"""What --speculative means to a plan: which kinds have it, what it takes in memory, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.planning import compiled_kinds, without_vllm

from stoker.errors import UsageError
from stoker.kinds import kind_named, plan_kinds
from stoker.kinds.openvino.speculation import FEW_STREAMS, FEWEST_GUESSES, GUESSES, guesses, most_rows
from stoker.plan.planner import make_plan
from stoker.plan.speculation import Speculation, parse_speculation


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("off", Speculation()),
        ("lookup", Speculation("lookup")),
        ("draft=org/small", Speculation("draft", "org/small")),
        (" eagle3 = ./head ", Speculation("eagle3", "./head")),
        ("auto", Speculation("auto")),
    ],
)
def test_what_is_asked_for(text: str, found: Speculation):
    assert parse_speculation(text) == found


@pytest.mark.parametrize("text", ["", "draft", "draft=", "lookup=x", "ngram", "eagle3="])
def test_what_nobody_has_is_refused(text: str):
    with pytest.raises(UsageError, match="invalid --speculative"):
        parse_speculation(text)


def test_lookup_takes_room_for_its_guesses_and_says_when_it_stops_paying(plan):
    without, guessing = plan("qwen2.5-0.5b"), plan("qwen2.5-0.5b", speculative="lookup")
    assert without.chosen.speculative == "off"
    assert guessing.chosen.speculative == "lookup"
    assert guessing.memory.weights == without.memory.weights
    assert guessing.memory.activations > without.memory.activations
    said = next(reason.text for reason in guessing.reasons if reason.code == "speculative")
    assert "stop paying" in said
    assert "no prefix cache" in said
    assert not [reason for reason in without.reasons if reason.code == "speculative"]


def test_a_draft_takes_room_for_weights_and_cache(machine, model, overrides):
    given = overrides(speculative="draft=org/qwen2.5-0.5b")
    large, small = model("qwen2.5-7b", {"vocab_size": 151936}), model("qwen2.5-0.5b")
    plain = make_plan(machine(64), large, compiled_kinds(), overrides())
    drafted = make_plan(machine(64), large, compiled_kinds(), given, draft=small)
    assert drafted.draft == small
    assert drafted.chosen.draft == "org/qwen2.5-0.5b@abc123"
    parameters = small.weights.parameters
    assert parameters <= drafted.memory.weights - plain.memory.weights < 1.5 * parameters
    assert drafted.memory.kv.bytes_per_token > plain.memory.kv.bytes_per_token
    assert drafted.memory.total <= drafted.memory.limit


def test_auto_is_off_without_a_measurement(plan):
    found = plan("qwen2.5-0.5b", speculative="auto")
    assert found.chosen.speculative == "off"
    assert "no measurement" in next(reason.text for reason in found.reasons if reason.code == "speculative")


@pytest.mark.parametrize(
    ("name", "speculative", "why"),
    [
        ("qwen2.5-0.5b", "mtp", "OpenVINO GenAI has no mtp"),
        ("gemma-2-9b", "lookup", "cannot be paged"),
    ],
)
def test_what_openvino_lacks_is_refused_with_the_reason(plan, name: str, speculative: str, why: str):
    with pytest.raises(UsageError, match=f"--speculative {speculative} is not available") as refused:
        plan(name, speculative=speculative)
    assert why in refused.value.why


def test_a_draft_of_another_vocabulary_is_refused(machine, model, overrides):
    given = overrides(speculative="draft=org/llama-3.2-1b")
    with pytest.raises(UsageError, match="cannot draft for org/qwen2.5-7b"):
        make_plan(machine(64), model("qwen2.5-7b"), compiled_kinds(), given, draft=model("llama-3.2-1b"))


def test_kinds_without_it_say_so(machine, model, overrides):
    given = overrides(engine="torch", speculative="lookup")
    with pytest.raises(UsageError, match="lookup is not available|not available for"):
        make_plan(machine(64), model("qwen2.5-0.5b"), without_vllm(), given)


def test_guesses_become_few_when_many_run():
    assert guesses(1) == GUESSES
    assert guesses(FEW_STREAMS + 1) == FEWEST_GUESSES
    assert most_rows("off", 16) == 16
    rows = [most_rows("lookup", batch) - most_rows("lookup", batch - 1) for batch in range(2, 17)]
    assert set(rows) == {GUESSES + 1, FEWEST_GUESSES + 1}


def test_a_key_tells_only_engines_with_a_draft_apart(plan):
    found = plan("qwen2.5-0.5b", speculative="lookup")
    key = kind_named("openvino").build.key
    drafted = replace(found, chosen=replace(found.chosen, speculative="draft", draft="small@1"))
    assert key.choices(found) == key.choices(plan("qwen2.5-0.5b"))
    assert key.choices(drafted) != key.choices(found)


def test_no_kind_has_been_measured_to_gain():
    assert all(kind.speculates.pays(goal) == "off" for kind in plan_kinds() for goal in ("throughput", "latency"))
