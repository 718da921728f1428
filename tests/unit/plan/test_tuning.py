"""What `stoker tune` measured, as an input of the plan."""

from dataclasses import replace

import pytest

from stoker.kinds.openvino.plan.kind import openvino
from stoker.plan.planner import make_plan
from stoker.plan.tuning import Tuned, limits_to_try, tuned_plan
from stoker.plan.types import Overrides

TUNED = Tuned("openvino", "int8", "throughput", {"max_num_tokens": 256}, 16, 130.0, 100.0, "2026-11-29")


@pytest.fixture
def planned(machine, model, profiles, overrides):
    def planned(tuned, memory=16, **given):
        def make(wanted: Overrides):
            return make_plan(machine(memory, 2), model("qwen2.5-0.5b"), [openvino(profiles)], wanted)

        return tuned_plan(make, overrides(**given), tuned)

    return planned


def reason(plan) -> str:
    (text,) = (one.text for one in plan.reasons if one.code == "tuned")
    return text


def test_nothing_measured_changes_nothing(planned):
    assert not [one for one in planned(None).reasons if one.code == "tuned"]


def test_a_plan_takes_what_was_measured_and_says_so(planned):
    found = planned(TUNED)
    assert found.chosen.max_num_tokens == 256
    assert dict(found.sources)["max_num_tokens"] == "tuned stoker tune"
    assert "130.0 tokens/s at 16 streams, 100.0 without it" in reason(found)
    assert any("256 tokens per step: measured by `stoker tune`" in one.text for one in found.reasons)


def test_the_user_s_own_value_comes_first(planned):
    found = planned(TUNED, max_num_tokens=64)
    assert found.chosen.max_num_tokens == 64
    assert dict(found.sources)["max_num_tokens"] == "flag --max-num-tokens"


def test_a_precision_that_was_tried_and_won_is_planned(planned):
    quicker = replace(TUNED, precision="int4", values={"precision": "int4"})
    assert planned(quicker).chosen.precision == "int4"
    assert dict(planned(quicker).sources)["precision"] == "tuned stoker tune"
    kept = planned(quicker, precision="int8")
    assert kept.chosen.precision == "int8"
    assert "was openvino in int4" in reason(kept)


def test_what_no_longer_fits_is_left_out_with_its_reason(planned):
    too_much = replace(TUNED, values={"max_batch_size": 100_000, "max_num_tokens": 100_000})
    assert planned(too_much).chosen == planned(None).chosen
    assert "measured on 2026-11-29 is not used" in reason(planned(too_much))


def test_a_measurement_of_another_precision_is_left_out(planned):
    found = planned(TUNED, precision="int4")
    assert found.chosen.max_num_tokens == planned(None, precision="int4").chosen.max_num_tokens
    assert "was openvino in int8" in reason(found)


def test_a_plan_that_is_as_quick_as_any_other_says_so(planned):
    assert "nothing was quicker than 100.0" in reason(planned(replace(TUNED, values={}, best=100.0)))


@pytest.mark.parametrize(("batch", "tried"), [(8, (16, 4)), (1, (2, 1))])
def test_half_and_twice_a_limit_are_tried(planned, profiles, machine, batch, tried):
    chosen = replace(planned(None).chosen, max_batch_size=batch, max_num_tokens=256)
    found = limits_to_try(profiles[0], chosen, machine(16, 2).cpu)
    assert found == {"max_num_tokens": (512, 128), "max_batch_size": tried}
