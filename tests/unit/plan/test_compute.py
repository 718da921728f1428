"""What OpenVINO's kernels compute in: the user's choice, the cache's, the measured, the processor's."""

import pytest

from stoker.errors import DoesNotFitError, UsageError
from stoker.kinds.openvino.plan.measurements import measured_for, measurements
from stoker.plan.render import render_plan

AMX = ("avx2", "avx512", "avx512_bf16", "amx_bf16", "amx_int8")
PLAIN = ("avx2", "avx512", "avx512_vnni")
ARM = ("neon",)


@pytest.mark.parametrize("goal", ["throughput", "latency"])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_quickest_that_was_measured_is_taken_with_its_figures(plan, machine, goal, precision):
    found = plan("qwen2.5-0.5b", on=machine(16, isa=AMX), goal=goal, precision=precision)
    row = measured_for(AMX, precision, measurements())
    assert row is not None
    streams = 1 if goal == "latency" else 16  # the most that both have a figure for
    best, other = row.speeds["f32"].streams[streams], row.speeds["bf16"].streams[streams]
    assert best > 1.05 * other
    assert found.chosen.activation_precision == "f32"
    (reason,) = (one.text for one in found.reasons if one.code == "activation")
    assert f"{best:g} tokens/s" in reason
    assert f"{other:g} in bf16" in reason
    assert dict(found.sources)["activation_precision"] == "measurements, amx_bf16"


def test_differences_within_the_noise_leave_the_profile_s_order(plan, machine):
    row = measured_for(("avx512_bf16",), "int8", measurements())
    assert row is not None
    assert row.speeds["bf16"].streams[1] < row.speeds["f32"].streams[1] < 1.05 * row.speeds["bf16"].streams[1]
    found = plan("qwen2.5-0.5b", on=machine(16, isa=("avx512", "avx512_bf16")), goal="latency")
    assert found.chosen.activation_precision == "bf16"


def test_what_was_not_measured_goes_by_the_processor(plan, machine):
    found = plan("qwen2.5-0.5b", on=machine(16, isa=AMX), precision="bf16")
    assert found.chosen.activation_precision == "bf16"
    assert "computes in bf16: the processor has avx512_bf16, amx_bf16" in map(str, found.reasons)
    assert plan("qwen2.5-0.5b", on=machine(16, isa=ARM)).chosen.activation_precision == "f32"


@pytest.mark.parametrize(("isa", "asked"), [(AMX, "bf16"), (AMX, "f32"), (ARM, "f16")])
def test_the_user_may_choose(plan, machine, isa, asked):
    found = plan("qwen2.5-0.5b", on=machine(16, isa=isa), activation_precision=asked)
    assert found.chosen.activation_precision == asked
    assert f"computes in {asked}: asked for by flag --activation-precision" in map(str, found.reasons)
    assert dict(found.sources)["activation_precision"] == "flag --activation-precision"
    assert f"{asked} arithmetic (flag --activation-precision)" in render_plan(found)


@pytest.mark.parametrize(
    ("isa", "given", "error", "why"),
    [
        (PLAIN, {"activation_precision": "bf16"}, DoesNotFitError, "has none of avx512_bf16, amx_bf16"),
        (AMX, {"activation_precision": "f16"}, DoesNotFitError, "has none of neon"),
        (AMX, {"activation_precision": "bf16", "precision": "f32"}, UsageError, "computes in f32"),
        (AMX, {"activation_precision": "int8"}, UsageError, "unknown activation-precision"),
        (AMX, {"activation_precision": "f32", "kv_precision": "bf16"}, UsageError, "needs bf16 kernels"),
    ],
)
def test_what_is_not_available_says_why(plan, machine, isa, given, error, why):
    with pytest.raises(error, match=why):
        plan("qwen2.5-0.5b", on=machine(16, isa=isa), **given)


def test_the_cache_s_type_comes_before_what_was_measured(plan, machine):
    found = plan("qwen2.5-0.5b", on=machine(16, isa=AMX), kv_precision="bf16")
    assert (found.chosen.kv_precision, found.chosen.activation_precision) == ("bf16", "bf16")
    assert "computes in bf16: a bf16 cache cannot go with f32 kernels" in map(str, found.reasons)


def test_every_measurement_says_where_it_comes_from():
    for row in measurements():
        assert len(row.speeds) > 1
        assert row.streams_of(row.speeds)
