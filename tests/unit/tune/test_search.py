"""The search for the quickest plan, with figures that a function of the plan gives instead of an engine."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.plan.conftest import build_machine, build_model, build_overrides

from stoker.chain import Planner
from stoker.direct.messages import generation_of
from stoker.direct.process import EngineProcess
from stoker.errors import EngineError, StoppedError, UsageError
from stoker.launch.generation import Generation
from stoker.progress import Silent
from stoker.settings.layers import load_settings
from stoker.store.tuned import TunedStore, tuning_key
from stoker.tune import measure, run
from stoker.tune.measure import Load, Measuring, load_for
from stoker.tune.run import Search, found

LOAD = Load(16, 128, 32)


def search(rate, budget=1000.0, precisions=(), **given) -> Search:
    planner = Planner(
        build_machine(16, 2), build_model("qwen2.5-0.5b"), build_overrides(engine="openvino", **given), None
    )
    return Search(planner, lambda plan, _load: rate(plan.chosen), Silent(), budget, threading.Event(), precisions)


def test_the_quickest_values_are_found_one_after_the_other():
    def rate(chosen):
        return 100.0 + 20 * (chosen.activation_precision == "f32") + chosen.max_num_tokens / 10

    result = found(search(rate), LOAD)
    assert dict(result.values) == {"activation_precision": "f32", "max_num_tokens": 256}
    assert (result.best, result.planned, result.streams) == (145.6, 112.8, 16)


def test_differences_within_the_noise_leave_the_plan():
    result = found(search(lambda chosen: 100.0 + (chosen.activation_precision == "f32")), LOAD)
    assert not result.values
    assert result.best == result.planned == 100.0


def test_a_winner_by_chance_does_not_win_again():
    rates = iter([100.0, 300.0, *[100.0] * 20])
    result = found(search(lambda _: next(rates)), LOAD)
    assert not result.values


def test_what_the_user_set_is_not_varied():
    one = search(lambda _: 100.0, activation_precision="f32", max_num_tokens=64)
    found(one, LOAD)
    assert {name for figure in one.figures for name in figure.values} == {"max_batch_size"}


def test_precisions_are_tried_only_where_they_are_named():
    def rate(chosen):
        return {"int8": 100.0, "int4": 150.0, "bf16": 80.0}[chosen.precision]

    assert not found(search(rate), LOAD).values
    one = search(rate, precisions=("bf16", "int8", "int4", "int4"))
    result = found(one, LOAD)
    assert (result.precision, dict(result.values)) == ("int4", {"precision": "int4"})
    alone = [figure.values["precision"] for figure in one.figures if list(figure.values) == ["precision"]]
    assert alone[:3] == ["bf16", "int4", "int4"]  # int8 is the plan's; the winner is measured again
    assert all(figure.values["precision"] == "int4" for figure in one.figures if len(figure.values) > 1)


def test_a_precision_that_the_engine_does_not_have_has_a_reason():
    one = search(lambda _: 100.0, precisions=("fp8",))
    assert not found(one, LOAD).values
    (why,) = (figure.why for figure in one.figures if figure.values == {"precision": "fp8"})
    assert "fp8" in why


def test_a_candidate_that_fails_has_a_reason_and_loses():
    def rate(chosen):
        if chosen.activation_precision == "f32":
            raise EngineError("it died")
        return 100.0

    one = search(rate)
    assert not found(one, LOAD).values
    assert [figure.why for figure in one.figures if figure.rate == 0] == ["it died"]


def test_a_plan_that_cannot_be_measured_is_an_error():
    def rate(_):
        raise EngineError("it died")

    with pytest.raises(UsageError, match="could not be measured: it died"):
        found(search(rate), LOAD)


def test_nothing_is_begun_after_the_budget():
    one = search(lambda _: 100.0, budget=0.0)
    assert not found(one, LOAD).values
    assert [figure.values for figure in one.figures if figure.tried] == [{}]
    left = {name for figure in one.figures for name in figure.values if not figure.tried}
    assert left == {"activation_precision", "max_num_tokens", "max_batch_size"}
    assert all("not tried: the budget of 0 s was over" in figure.why for figure in one.figures[1:])


def test_it_can_be_stopped():
    one = search(lambda _: 100.0)
    one.cancel.set()
    with pytest.raises(StoppedError):
        found(one, LOAD)


def test_the_load_is_what_the_goal_is_about():
    plan = search(lambda _: 1.0).planner.plan({})
    assert load_for(plan, "latency").streams == 1
    assert load_for(plan, "throughput") == Load(16, 128, 32)
    on_a_gpu = replace(plan, chosen=replace(plan.chosen, devices=(0,), max_batch_size=64))
    assert load_for(on_a_gpu, "throughput") == Load(64, 128, 128)


class Answering:
    """An engine that gives each sequence all its tokens at once, `seconds` after the one before, by its own clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.rounds = seconds, 0.0, 0
        self.waiting: list[Generation] = []

    def send(self, message: dict[str, Any]) -> None:
        self.waiting.append(generation_of(message["add"]))

    def receive(self) -> dict[str, Any]:
        self.now += self.seconds
        asked = self.waiting.pop(0)
        self.rounds += not self.waiting
        return {"id": asked.request_id, "ids": [7] * asked.max_tokens, "ended": True}


@pytest.mark.parametrize(("seconds", "rounds"), [(1.0, 2), (0.25, 2), (0.125, 4)])
def test_a_quick_engine_is_measured_for_longer(monkeypatch, seconds, rounds):
    engine = Answering(seconds)
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: engine.now, perf_counter=lambda: engine.now))
    process = cast("EngineProcess", engine)
    assert Measuring(process, 100, lambda: False).rate(Load(4, 8, 16)) == 16 / seconds
    assert engine.rounds == 1 + rounds  # the first warms it up


def first(tmp_path, monkeypatch, outcome) -> tuple[bool, list[str]]:
    """What `serve --tune` does: whether it measured, and what it noted."""
    planner, noted = search(lambda _: 1.0).planner, []

    class Noting(Silent):
        def note(self, text: str) -> None:
            noted.append(text)

    monkeypatch.setattr(run, "planner_for", lambda *_: planner)
    monkeypatch.setattr(run, "tune", outcome)
    settings = load_settings({"model": "demo", "cache": str(tmp_path)}, {})
    return run.tune_first(settings, Noting(), threading.Event()), noted


def test_a_first_start_measures_once(tmp_path, monkeypatch):
    def keep(planner, settings, *_):
        key = tuning_key(planner.machine, planner.model, planner.goal)
        TunedStore(settings.cache).write(key, found(search(lambda _: 1.0), LOAD))

    assert first(tmp_path, monkeypatch, keep) == (True, [])
    assert first(tmp_path, monkeypatch, keep) == (False, [])


def test_a_start_goes_on_where_it_cannot_measure(tmp_path, monkeypatch):
    def fail(*_):
        raise EngineError("it died")

    assert first(tmp_path, monkeypatch, fail) == (False, ["not tuned: it died"])


def test_a_stop_while_measuring_stops_the_start(tmp_path, monkeypatch):
    def stop(*_):
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        first(tmp_path, monkeypatch, stop)
