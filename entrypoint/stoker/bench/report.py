"""From what was asked for to the report: plans every case first, then measures one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.bench.cases import Asked, choose_case, offers, with_and_without
from stoker.bench.run import Target, Tell, measure
from stoker.bench.statistics import baseline_of, ratios
from stoker.bench.types import Case, Measured, NotRun, Report, Workload
from stoker.chain import resolve_model
from stoker.errors import DoesNotFitError
from stoker.kinds import kinds
from stoker.origin import Origin
from stoker.probe.machine import Machine
from stoker.probe.probe import probe_machine
from stoker.progress import Progress
from stoker.settings.layers import Settings
from stoker.settings.setting import Setting
from stoker.settings.spec import SETTINGS
from stoker.version import __version__

_OTHERWISE = ("model", "cache", "log-format", "speculative")
"""What `stoker.bench.run` and `stoker.bench.server` give the children themselves."""


def make_report(
    asked: Sequence[Asked], settings: Settings, workload: Workload, progress: Progress, *, reuse: bool
) -> Report:
    """Raises DoesNotFitError where nothing at all could be planned, and what resolve raises for the model."""
    cases, refused = _plan(asked, settings, workload, progress.note)
    target = _target(settings, progress, reuse=reuse)
    outcomes = [measure(case, target, workload, progress.note) for case in cases]
    measured = tuple(each for each in outcomes if isinstance(each, Measured))
    baseline = baseline_of(measured, {name for name, kind in kinds().items() if kind.baseline})
    return Report(
        stoker=__version__,
        model=target.served_name,
        machine=machine_line(probe_machine()),
        workload=workload,
        measured=measured,
        baseline=baseline.name if baseline else "",
        ratios=ratios(measured, baseline),
        not_run=(*refused, *(each for each in outcomes if isinstance(each, NotRun))),
    )


def _plan(
    asked: Sequence[Asked], settings: Settings, workload: Workload, tell: Tell
) -> tuple[list[Case], list[NotRun]]:
    catalogue = offers()
    variants = with_and_without(settings)
    found = [choose_case(each, catalogue, variant, workload) for each in asked for variant in variants]
    refused = [each for each in found if isinstance(each, NotRun)]
    for each in refused:
        tell(f"not run: {each.kind} {each.precision}".rstrip() + f": {each.reason}")
    cases = list(dict.fromkeys(each for each in found if isinstance(each, Case)))
    if not cases:
        why = "; ".join(f"{each.kind}: {each.reason}" for each in refused)
        raise DoesNotFitError("none of the requested engine kinds can serve this model here", why=why)
    return cases, refused


def _target(settings: Settings, progress: Progress, *, reuse: bool) -> Target:
    """Fetches the whole model, so that no start has a download in it."""
    model = resolve_model(settings, progress)
    arguments = tuple(word for setting in SETTINGS for word in _words(setting, settings))
    return Target(
        model=model.reference,
        served_name=model.served_name,
        vocabulary=model.architecture.vocabulary_size,
        arguments=arguments,
        cache=settings.cache,
        reuse=reuse,
    )


def _words(setting: Setting, settings: Settings) -> tuple[str, ...]:
    """A flag that was given, for the children's command line; they read environment and files themselves."""
    given = settings[setting.name]
    if given.origin is not Origin.FLAG or setting.name in _OTHERWISE:
        return ()
    return (setting.flag,) if setting.type == "switch" else (setting.flag, str(given.value))


def machine_line(machine: Machine) -> str:
    """What was measured on, in a line."""
    cpu = machine.cpu
    host = f"{cpu.name}, {cpu.cores} cores, {cpu.memory_limit / 2**30:.0f} GiB, {' '.join(cpu.isa)}"
    gpus = [gpu.name for gpu in machine.gpus]
    counted = [f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)]
    return ", ".join([*counted, host])
