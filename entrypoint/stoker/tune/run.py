"""The search: each kind as planned, then one value after the other, the better kept, and the winner measured again."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from stoker.chain import Planner, obtain_planned, planner_for
from stoker.errors import StokerError, StoppedError, UsageError
from stoker.kinds import available_kinds, kind_named
from stoker.plan.tuning import Tuned
from stoker.plan.types import TEXT, Plan
from stoker.progress import Progress
from stoker.settings.layers import Settings
from stoker.store.tuned import TunedStore
from stoker.tune.measure import Load, engine_of, load_for

BUDGET = 180.0  # seconds
CLEARLY = 1.03  # times as quick, below which two figures are alike
_AGAIN = 3  # times that the planned and the best are measured
_SEARCHING = 0.6  # of the budget
Values = Mapping[str, str | int]


@dataclass(frozen=True)
class Figure:
    """`rate`: tokens/s; 0 with the reason why there is none. `tried`: false where the budget was over before."""

    values: Values
    engine: str
    rate: float
    why: str = ""
    tried: bool = True


@dataclass
class Search:
    """`budget`: seconds. `rate`: measures a plan, in tokens/s; StokerError where that fails. `precisions`: of weights,
    tried beside the planned one; they change what the model answers, so only the user names them."""

    planner: Planner
    rate: Callable[[Plan, Load], float]
    progress: Progress
    budget: float
    cancel: threading.Event
    precisions: Sequence[str] = ()
    figures: list[Figure] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        """What is left is for measuring the winner again."""
        return time.monotonic() - self.began > _SEARCHING * self.budget

    def candidate(self, values: Values, load: Load, best: Figure) -> Figure:
        """The better of the two; `values` are only noted where the budget is over."""
        if not self.over:
            return _better(self.measure(values, load), best)
        engine, why = str(values.get("engine", best.engine)), f"not tried: the budget of {self.budget:g} s was over"
        self.figures.append(Figure(values, engine, 0, why, tried=False))
        return best

    def measure(self, values: Values, load: Load) -> Figure:
        """A candidate that cannot be planned, built or started has no figure. StoppedError when cancelled."""
        plan = None
        self._check()
        try:
            plan = self.planner.plan(values)
            figure = Figure(values, plan.chosen.engine, self.rate(plan, load))
        except StokerError as error:
            self._check()
            figure = Figure(values, plan.chosen.engine if plan else "", 0, str(error))
        self.figures.append(figure)
        self.progress.note(f"{named(values)}: {figure.why or f'{figure.rate:.1f} tokens/s'}")
        self.progress.phase("tuning")
        self.progress.advance(int(min(time.monotonic() - self.began, self.budget)), int(self.budget), "seconds")
        return figure

    def _check(self) -> None:
        if self.cancel.is_set():
            raise StoppedError("stopped while measuring", remedy="nothing was kept")


def named(values: Values) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items()) or "as planned"


def tune(
    planner: Planner,
    settings: Settings,
    progress: Progress,
    budget: float,
    cancel: threading.Event,
    precisions: Sequence[str] = (),
) -> tuple[Tuned, tuple[Figure, ...]]:
    """Measures, keeps the result in the cache and returns it. StoppedError when cancelled: then all is as before."""

    def rate(plan: Plan, load: Load) -> float:
        plan, engine = obtain_planned(plan, settings, progress, cancel)
        with engine_of(plan, engine, cancel.is_set) as measuring:
            return measuring.rate(load)

    search = Search(planner, rate, progress, budget, cancel, precisions)
    planned = planner.plan({})
    if planned.chosen.purpose != TEXT or len(planned.replicas) > 1 or planned.chosen.nodes > 1:
        raise UsageError("stoker tune measures one engine that generates text", remedy="leave --replicas out")
    load = load_for(planned, planner.goal)
    result = found(search, load)
    TunedStore(settings.cache).write(planner.tuning_key, result)
    return result, tuple(search.figures)


def tune_first(settings: Settings, progress: Progress, cancel: threading.Event, budget: float = BUDGET) -> bool:
    """Unless this was measured already. Whether plans may differ now; what could not be measured is noted."""
    try:
        planner = planner_for(settings, progress)
        if TunedStore(settings.cache).read(planner.tuning_key) is not None:
            return False
        tune(planner, settings, progress, budget, cancel)
    except StoppedError:
        raise
    except StokerError as error:
        progress.note(f"not tuned: {error}")
        return False
    return True


def found(search: Search, load: Load) -> Tuned:
    """The quickest. UsageError where not even the plan can be measured."""
    base = search.measure({}, load)
    if base.why:
        raise UsageError("the planned engine could not be measured", why=base.why)
    best = _best_precision(search, _best_kind(search, base, load), load)
    return _confirmed(search, base, _best_limits(search, best, load), load)


def _best_kind(search: Search, base: Figure, load: Load) -> Figure:
    """Of the installed kinds, each as it would be planned."""
    best = base
    for name in sorted(available_kinds() - {base.engine}):
        if not search.planner.engine_given:
            best = search.candidate({"engine": name}, load, best)
    return best


def _best_precision(search: Search, best: Figure, load: Load) -> Figure:
    planned = search.planner.plan(best.values).chosen.precision
    for precision in dict.fromkeys(search.precisions):
        if precision != planned:
            best = search.candidate({**best.values, "precision": precision}, load, best)
    return best


def _best_limits(search: Search, best: Figure, load: Load) -> Figure:
    for name, values in _tunable(search, best):
        for value in values:
            if not search.planner.is_given(name) and value != getattr(search.planner.plan(best.values).chosen, name):
                best = search.candidate({**best.values, name: value}, load, best)
    return best


def _tunable(search: Search, best: Figure) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    plan = search.planner.plan(best.values)
    kind = kind_named(plan.chosen.engine).planning()
    profile = next(one for one in kind.profiles if one.name == plan.chosen.profile)
    for name, values in kind.tunable(profile, plan.chosen, plan.machine.cpu).items():
        yield name, tuple(values)


def _better(one: Figure, than: Figure) -> Figure:
    return one if one.rate > CLEARLY * than.rate else than


def _wins(pairs: list[tuple[float, float]]) -> bool:
    return all(one > CLEARLY * plain for plain, one in pairs)


def _confirmed(search: Search, base: Figure, best: Figure, load: Load) -> Tuned:
    """Both again in turns, since a machine does other things too: the plan stays unless the other wins each time."""
    pairs = [(base.rate, best.rate)]
    while best is not base and len(pairs) < _AGAIN and _wins(pairs):
        pairs.append((search.measure(base.values, load).rate, search.measure(best.values, load).rate))
    plain, tuned = (statistics.median(each) for each in zip(*pairs, strict=True))
    values = best.values if _wins(pairs) else {}
    chosen = search.planner.plan(values).chosen
    engine, precision = chosen.engine, chosen.precision
    kept = {name: value for name, value in values.items() if name != "engine"}
    date = datetime.now(timezone.utc).date().isoformat()
    rate = tuned if values else plain
    return Tuned(engine, precision, search.planner.goal, kept, load.streams, round(rate, 2), round(plain, 2), date)
