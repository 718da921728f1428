"""What is tried when an engine fails: decided from values, with no process started."""

from __future__ import annotations

import pytest

from stoker.errors import (
    DamagedEngineError,
    DamagedModelError,
    EngineError,
    EngineMemoryError,
    StokerError,
    StorageError,
    UnstableEngineError,
    UsageError,
)
from stoker.launch.death import Death
from stoker.life.attempts import (
    MOST_REPLACEMENTS,
    Again,
    Decision,
    GiveUp,
    History,
    NextProfile,
    Replace,
    Smaller,
    next_attempt,
)
from stoker.plan.step_down import stepped_down
from stoker.plan.types import Plan

UNSTABLE = UnstableEngineError("the engine died 5 times", why="killed by SIGSEGV")
MEMORY = EngineMemoryError("the engine was killed for lack of memory", why="the container's memory limit was reached")
DAMAGED = DamagedEngineError("the engine is damaged", why="weights.bin is not the file that was built")
CRASH = Death(1.0, "killed by SIGSEGV")
BLAMED = Death(2.0, "killed by SIGSEGV", blamed="request 7's regular expression")


def smallest(plan: Plan) -> Plan:
    while (smaller := stepped_down(plan, "it died")) is not None:
        plan = smaller
    return plan


@pytest.mark.parametrize("error", [UNSTABLE, MEMORY])
@pytest.mark.parametrize("history", [History(), History(deaths=(CRASH,)), History(own_engine=False)])
def test_an_engine_that_dies_is_driven_less_hard(plan: Plan, error: StokerError, history: History) -> None:
    decision = next_attempt(plan, error, history)
    assert isinstance(decision, Smaller)
    assert decision.plan.chosen.max_batch_size == plan.chosen.max_batch_size // 2
    assert decision.plan.memory.kv.blocks < plan.memory.kv.blocks
    assert decision.plan.reasons[-1].text.startswith(error.what)


@pytest.mark.parametrize("error", [UNSTABLE, MEMORY])
def test_where_nothing_is_left_to_halve_the_profile_makes_way(plan: Plan, error: StokerError) -> None:
    before = {"first": "first failed to build"}
    decision = next_attempt(smallest(plan), error, History(given_up=before))
    assert isinstance(decision, NextProfile)
    assert dict(decision.given_up) == {**before, plan.chosen.profile: f"{plan.chosen.profile} was given up: {error}"}
    assert before == {"first": "first failed to build"}


@pytest.mark.parametrize("error", [UNSTABLE, MEMORY])
def test_an_exported_engine_has_no_next_profile(plan: Plan, error: StokerError) -> None:
    assert next_attempt(smallest(plan), error, History(own_engine=False)) == GiveUp(error)


@pytest.mark.parametrize(
    "error",
    [
        EngineError("the engine did not load", why="no such file"),
        UsageError("--tool-parser x"),
        DamagedModelError("tokenizer.json cannot be read"),
        StorageError("the disk is full"),
        StokerError("something else"),
    ],
)
@pytest.mark.parametrize("history", [History(), History(deaths=(BLAMED,)), History(own_engine=False)])
def test_other_failures_end_the_server(plan: Plan, error: StokerError, history: History) -> None:
    assert next_attempt(plan, error, history) == GiveUp(error)


def test_deaths_that_requests_caused_change_no_limits(plan: Plan) -> None:
    decision = next_attempt(plan, UNSTABLE, History(deaths=(BLAMED, BLAMED)))
    assert decision == Again("requests ended it: request 7's regular expression")
    assert isinstance(next_attempt(smallest(plan), UNSTABLE, History(deaths=(BLAMED,), own_engine=False)), Again)


@pytest.mark.parametrize("deaths", [(), (CRASH, BLAMED), (BLAMED, CRASH, BLAMED)])
def test_one_death_of_its_own_is_the_engine_s_fault(plan: Plan, deaths: tuple[Death, ...]) -> None:
    assert isinstance(next_attempt(plan, UNSTABLE, History(deaths=deaths)), Smaller)


def test_no_request_is_to_blame_for_an_engine_that_does_not_fit_when_it_is_loaded_again(plan: Plan) -> None:
    assert isinstance(next_attempt(plan, MEMORY, History(deaths=(BLAMED,))), Smaller)


def test_a_damaged_engine_of_the_store_is_replaced(plan: Plan) -> None:
    for history in (History(), History(deaths=(CRASH,), steps_down=("it died",), replaced=MOST_REPLACEMENTS - 1)):
        assert next_attempt(plan, DAMAGED, history) == Replace(DAMAGED.why)


def test_a_damaged_engine_outside_of_the_store_ends_the_server(plan: Plan) -> None:
    assert next_attempt(plan, DAMAGED, History(own_engine=False)) == GiveUp(DAMAGED)


def test_a_disk_that_damages_every_engine_ends_the_server(plan: Plan) -> None:
    decision = next_attempt(plan, DAMAGED, History(replaced=MOST_REPLACEMENTS))
    assert isinstance(decision, GiveUp)
    assert decision.error.exit_code == DAMAGED.exit_code
    assert DAMAGED.why in decision.error.why
    assert "disk" in decision.error.remedy


def test_the_same_values_give_the_same_decision(plan: Plan) -> None:
    history = History(("it died",), {"first": "why"}, (CRASH,))
    decisions: list[Decision] = [next_attempt(plan, UNSTABLE, history) for _ in range(2)]
    assert decisions[0] == decisions[1]
    assert history == History(("it died",), {"first": "why"}, (CRASH,))


def test_it_always_comes_to_an_end(plan: Plan) -> None:
    """However often an engine dies of itself, limits are only halved until the profile is given up."""
    steps = 0
    while isinstance(decision := next_attempt(plan, UNSTABLE, History(deaths=(CRASH,))), Smaller):
        plan, steps = decision.plan, steps + 1
    assert isinstance(decision, NextProfile)
    assert 0 < steps <= 10
