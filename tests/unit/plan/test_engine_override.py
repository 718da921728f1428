"""`--engine KIND`: the kind that is asked for, or the reason against it with what would serve."""

from __future__ import annotations

import pytest
from tests.planning import plan_any

from stoker.errors import DoesNotFitError, UnsupportedModelError, UsageError
from stoker.probe.description import load_description


@pytest.mark.parametrize("engine", ["openvino", "tensorrt_llm", "tensorrt_llm_pytorch", "torch"])
def test_the_engine_that_is_asked_for_is_taken_and_no_other_is_weighed(model, overrides, engine):
    here = load_description("1xL4,cpu:16c-64g")
    found = plan_any(here, model("llama-3.1-8b"), overrides(engine=engine))
    assert found.chosen.engine == engine
    assert dict(found.sources)["engine"] == "flag --engine"
    assert f"engine {engine}: asked for by flag --engine" in [one.text for one in found.reasons]
    assert engine == "tensorrt_llm" or any("--engine asks for" in one.reason for one in found.rejected)


@pytest.mark.parametrize(
    ("engine", "name", "machine", "error", "why"),
    [
        (
            "tensorrt_llm",
            "olmo-2-7b",
            "1xL4,cpu:16c-64g",
            UnsupportedModelError,
            "no engine path.*openvino would serve",
        ),
        ("tensorrt_llm", "gemma-3-4b", "1xL4", UnsupportedModelError, "tensorrt_llm_pytorch would serve"),
        ("tensorrt_llm", "llama-3.1-8b", "cpu:8c-32g", DoesNotFitError, "none was found.*openvino would serve"),
        ("tensorrt_llm", "llama-3.1-8b", "MI300X,cpu:8c-32g", DoesNotFitError, "NVIDIA's.*torch would serve"),
        ("openvino", "llama-3.1-405b", "8xB200,cpu:8c-32g", DoesNotFitError, "torch would serve"),
        ("opnvino", "llama-3.1-8b", "1xL4", UsageError, "unknown engine.*did you mean openvino"),
    ],
)
def test_an_engine_that_cannot_be_had_is_refused_with_what_would_serve(
    model, overrides, engine, name, machine, error, why
):
    with pytest.raises(error, match=f"--engine.*{why}"):
        plan_any(load_description(machine), model(name), overrides(engine=engine))


def test_an_engine_and_a_profile_of_another_contradict_each_other(model, overrides):
    asked = overrides(engine="openvino", profile="tensorrt_llm-bf16-throughput")
    with pytest.raises(UsageError, match="contradict each other: the profile's engine is tensorrt_llm"):
        plan_any(load_description("1xL4"), model("llama-3.1-8b"), asked)
