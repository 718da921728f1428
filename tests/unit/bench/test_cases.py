from pathlib import Path

import pytest

from stoker.bench.cases import Asked, choose_case, offers, parse_kinds
from stoker.bench.types import Case, NotRun, Workload
from stoker.errors import UsageError
from stoker.settings.layers import Settings, load_settings

WORKLOAD = Workload(128, 64, (1,), (0,), 1, 1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"model": "demo", "cache": str(tmp_path)}, {})


@pytest.mark.parametrize(
    ("kinds", "precisions", "expected"),
    [
        ("openvino", None, [("openvino", "")]),
        ("openvino,torch", "int8,int4", [(k, p) for k in ("openvino", "torch") for p in ("int8", "int4")]),
        ("openvino:bf16, openvino:int4,torch", None, [("openvino", "bf16"), ("openvino", "int4"), ("torch", "")]),
        ("openvino:bf16,torch", "int8", [("openvino", "bf16"), ("torch", "int8")]),
        ("torch,torch", None, [("torch", "")]),
        (None, None, [(kind, "") for kind in ("openvino", "tensorrt_llm", "tensorrt_llm_pytorch", "vllm", "torch")]),
    ],
)
def test_kinds_and_precisions_are_read_together(
    kinds: str | None, precisions: str | None, expected: list[tuple[str, str]]
) -> None:
    assert parse_kinds(kinds, precisions) == tuple(Asked(*each) for each in expected)


@pytest.mark.parametrize(("kinds", "precisions"), [("openvinno", None), ("openvino:int3", None), ("openvino", "int3")])
def test_an_unknown_name_is_refused_with_the_nearest(kinds: str, precisions: str | None) -> None:
    with pytest.raises(UsageError, match="unknown (engine kind|precision)") as caught:
        parse_kinds(kinds, precisions)
    assert caught.value.remedy


def test_a_kind_is_planned_by_its_own_profile(settings: Settings) -> None:
    found = choose_case(Asked("openvino", "int4"), offers(), settings, WORKLOAD)
    assert isinstance(found, Case)
    assert (found.kind, found.precision, found.profile) == ("openvino", "int4", "openvino-int4-throughput")


def test_without_a_precision_the_planner_has_the_first_word(settings: Settings) -> None:
    found = choose_case(Asked("openvino", ""), offers(), settings, WORKLOAD)
    assert isinstance(found, Case)
    assert found.precision == "int8"


def test_a_kind_that_cannot_run_here_is_named_with_the_planners_reason(settings: Settings) -> None:
    found = choose_case(Asked("openvino", "int4_gptq"), offers(), settings, Workload(30_000, 64, (1,), (0,), 1, 1))
    assert isinstance(found, NotRun)
    assert "context has" in found.reason
    assert not found.failed
    other = choose_case(Asked("openvino", "fp8"), offers(), settings, WORKLOAD)
    assert isinstance(other, NotRun)
    assert "openvino has no profile of fp8; its precisions are int8" in other.reason


def test_the_users_own_profile_and_precision_do_not_get_in_the_way(tmp_path: Path) -> None:
    environment = {"STOKER_PRECISION": "int8", "STOKER_PROFILE": "openvino-int8-throughput"}
    settings = load_settings({"model": "demo", "cache": str(tmp_path)}, environment)
    found = choose_case(Asked("openvino", "bf16"), offers(), settings, WORKLOAD)
    assert isinstance(found, Case)
    assert found.precision == "bf16"
