"""The way through, up to a finished engine: probe, resolve, plan, build or fetch.

Serving goes on from here in stoker.cli.serve; `stoker plan` and `stoker build` stop earlier.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stoker.build.jobs import Site
from stoker.build.kind import weights_bytes
from stoker.build.worker import BuildCancelledError, run_build
from stoker.errors import BuildError, OutOfMemoryError, StokerError, StoppedError, UsageError
from stoker.kinds import available_kinds, kind_named, kinds, plan_kinds
from stoker.kinds.known import check_known, check_model
from stoker.origin import Origin, Sourced
from stoker.plan.api_workers import AUTO, api_workers_reason
from stoker.plan.overrides import goal_of, overrides_of
from stoker.plan.planner import make_plan
from stoker.plan.purpose import purpose_of
from stoker.plan.speculation import DRAFT, check_draft, parse_speculation
from stoker.plan.tuning import Tuned, tuned_plan, with_values
from stoker.plan.types import Overrides, Plan, Reason
from stoker.probe.machine import Machine, machines
from stoker.probe.probe import probe_machine
from stoker.progress import Progress
from stoker.resolve.checkpoint import AdapterGivenError, accept_any
from stoker.resolve.document import model_as_json
from stoker.resolve.heads import check_head_tensors, check_no_head
from stoker.resolve.model import Model
from stoker.resolve.resolve import resolve
from stoker.resolve.vocabularies import check_same_tokenizer
from stoker.settings.layers import Settings
from stoker.store.alike import engines_alike
from stoker.store.engine import SCHEMA, Engine, Manifest
from stoker.store.exported import admit, directory_of, engine_model, engine_overrides, finished_engine
from stoker.store.key import engine_key, key_inputs
from stoker.store.obtain import Wanted, obtain
from stoker.store.policy import StorePolicy, policy_of
from stoker.store.store import Store
from stoker.store.timings import Timing, Timings
from stoker.store.tuned import TunedStore, tuning_key

DEFAULT_MODEL = "demo"
_COMPANION_BYTES = 64 << 20  # of the tokenizer and the graph, on the disk beside the weights


def make_plan_for(
    settings: Settings,
    progress: Progress,
    *,
    weights: bool = True,
    machine: Machine | None = None,
    buildable: bool = True,
    without_kinds: Set[str] = frozenset(),
    given_up: Mapping[str, str] | None = None,
) -> Plan:
    """Probes (unless a machine is given), resolves and plans. Without `weights` no weights are fetched.

    `buildable`: choose only engines that this installation can build. `without_kinds`: not those.
    `given_up`: profiles to do without, and why.
    """
    if weights:
        policy_of(settings)  # a key that is missing is noticed before anything is downloaded
    progress.phase("probing")
    here = _all_of_them(machine or probe_machine(), settings)
    if buildable:
        here = _drivable(here)
    model = resolve_model(settings, progress, weights=weights, buildable=buildable)
    progress.phase("planning")
    if finished := finished_engine(model.directory):
        _check_finished(settings)
        portable = kind_named(finished.manifest.kind).build.portable
        overrides = engine_overrides(finished, overrides_of(settings), portable)
        return _planned(here, model, overrides, frozenset({finished.manifest.kind}))
    without = given_up or {}
    available = available_kinds() if buildable else None
    draft = resolve_draft(model, settings, progress, weights=weights)
    tuned = None if machine or without else _tuned(_drivable(here), model, overrides_of(settings), settings)

    def make(overrides: Overrides) -> Plan:
        return _planned(here, model, overrides, available, without, without_kinds, draft)

    plan = tuned_plan(make, overrides_of(settings), tuned)
    if settings["api-workers"].value is AUTO:
        plan = replace(plan, reasons=(*plan.reasons, api_workers_reason(plan)))
    return replace(plan, reasons=(*(Reason("given_up", why) for why in without.values()), *plan.reasons))


def plan_beside_base(
    settings: Settings, progress: Progress, *, weights: bool = True, given_up: Mapping[str, str] | None = None
) -> tuple[Plan, Settings]:
    """The plan, and the settings that it was made by: where a LoRA adapter was named as the model, its base is the
    model, and the adapter is served beside it."""
    try:
        return make_plan_for(settings, progress, weights=weights, given_up=given_up), settings
    except AdapterGivenError as error:
        if not error.base:
            raise
        progress.note(f"{error.what}: serving it beside its base, {error.base}")
        settings = _with_base(settings, error.base)
    return make_plan_for(settings, progress, weights=weights, given_up=given_up), settings


def _with_base(settings: Settings, base: str) -> Settings:
    """The adapter has the name that was given for the model, or else its own."""
    reference = settings.model or DEFAULT_MODEL
    name = next(iter(settings.served_model_names), "") or _stem(reference)
    named = (*(settings["lora"].value or ()), f"{name}={reference}")
    beside = settings.but("model", base, "its adapter").but("lora", named, "MODEL")
    return beside.but("served-model-name", None, "MODEL")


def _all_of_them(machine: Machine, settings: Settings) -> Machine:
    """So many machines like this one as the settings say. A description may list them already."""
    nodes = int(settings["nodes"].value)
    if machine.nodes > 1 and nodes not in (1, machine.nodes):
        raise UsageError(f"--nodes {nodes} contradicts the description of {machine.nodes} machines")
    return machines(machine, nodes) if nodes > 1 and machine.nodes == 1 else machine


def _drivable(machine: Machine) -> Machine:
    """Without GPUs of vendors whose no installed kind drives, with a note."""
    driven = {vendor for kind in kinds().values() for vendor in kind.gpu_vendors()}
    idle = [gpu for gpu in machine.gpus if gpu.vendor not in driven]
    if not idle:
        return machine
    note = f"{idle[0].name} is not used: no engine kind for {idle[0].vendor} GPUs is installed"
    return replace(machine, gpus=tuple(gpu for gpu in machine.gpus if gpu not in idle), notes=(*machine.notes, note))


def following_plan(plan: Plan, settings: Settings, given_up: Iterable[str]) -> Plan | None:
    """What the same overrides come to without these profiles; None where nothing is left, or for GPUs only the CPU."""
    if finished_engine(plan.model.directory):
        return None
    try:
        second = _planned(
            plan.machine, plan.model, overrides_of(settings), available_kinds(), given_up, draft=plan.draft
        )
    except StokerError:
        return None
    return second if bool(second.chosen.devices) == bool(plan.chosen.devices) else None


def plans_by_profile(
    settings: Settings, progress: Progress
) -> tuple[Machine, Model, Plan | StokerError, Mapping[str, Plan | StokerError]]:
    """This machine, the model, the plan that the settings come to, and that of every profile for the model's purpose,
    by its name; the error where this installation has none on this machine. Fetches no weights."""
    machine = _drivable(probe_machine())
    model = resolve_model(settings, progress, weights=False, buildable=False)

    def attempt(overrides: Overrides) -> Plan | StokerError:
        try:
            return _planned(machine, model, overrides, available_kinds())
        except StokerError as error:
            return error

    purpose = purpose_of(model)
    names = [one.name for kind in plan_kinds() for one in kind.profiles if purpose in one.purposes]
    only = {name: Overrides(profile=Sourced(name, Origin.FLAG, "--profile")) for name in names}
    plans = {name: attempt(overrides) for name, overrides in only.items()}
    return machine, model, attempt(overrides_of(settings)), plans


@dataclass(frozen=True)
class Planner:
    """Plans for one model on this machine, again and again, without what was measured before."""

    machine: Machine
    model: Model
    overrides: Overrides
    draft: Model | None

    @property
    def goal(self) -> str:
        return goal_of(self.overrides, plan_kinds())

    @property
    def tuning_key(self) -> str:
        """What `stoker tune` finds is kept under it."""
        return tuning_key(self.machine, self.model, self.goal)

    @property
    def engine_given(self) -> bool:
        return self.overrides.engine is not None or self.overrides.profile is not None

    def is_given(self, name: str) -> bool:
        """Whether the user set this override."""
        return getattr(self.overrides, name) is not None

    def plan(self, values: Mapping[str, str | int]) -> Plan:
        """With these overrides beside the user's."""
        overrides = with_values(self.overrides, values)
        return _planned(self.machine, self.model, overrides, available_kinds(), draft=self.draft)


def planner_for(settings: Settings, progress: Progress, *, weights: bool = True) -> Planner:
    """UsageError for an engine that is built already."""
    progress.phase("probing")
    machine = _drivable(_all_of_them(probe_machine(), settings))
    model = resolve_model(settings, progress, weights=weights)
    if finished_engine(model.directory):
        raise UsageError("a built engine cannot be tuned", remedy="name the model that it was built from")
    progress.phase("planning")
    return Planner(machine, model, overrides_of(settings), resolve_draft(model, settings, progress, weights=weights))


def _tuned(machine: Machine, model: Model, overrides: Overrides, settings: Settings) -> Tuned | None:
    """What `stoker tune` measured for the model on this machine, unless the settings leave it out."""
    if settings["no-tune"].value or overrides.profile or overrides.replicas:
        return None
    goal = goal_of(overrides, plan_kinds())
    return TunedStore(settings.cache).read(tuning_key(machine, model, goal))


def _planned(
    machine: Machine,
    model: Model,
    overrides: Overrides,
    available: Set[str] | None,
    without: Iterable[str] = (),
    without_kinds: Set[str] = frozenset(),
    draft: Model | None = None,
) -> Plan:
    """By the profiles of this installation, except some, and except those of some kinds."""
    gone = frozenset(without)
    kept = [
        replace(kind, profiles=tuple(one for one in kind.profiles if one.name not in gone))
        for kind in plan_kinds()
        if kind.name not in without_kinds
    ]
    return make_plan(machine, model, kept, overrides, available, draft)


def resolve_model(settings: Settings, progress: Progress, *, weights: bool = True, buildable: bool = True) -> Model:
    """With `buildable` raises UnsupportedModelError for a model that no kind which is installed knows."""
    reference = settings.model or DEFAULT_MODEL
    if engine := finished_engine(directory_of(reference)):
        model = engine_model(engine)
    else:
        check, offline = check_known if buildable else accept_any, settings.offline
        model = resolve(reference, settings.cache, progress, offline=offline, weights=weights, check=check)
        check_no_head(model, "name that model, and ")
        if buildable:
            check_model(model)
    return replace(model, served_name=next(iter(settings.served_model_names), model.served_name))


def resolve_draft(model: Model, settings: Settings, progress: Progress, *, weights: bool = True) -> Model | None:
    """The model that guesses tokens for `model`, where the settings name one. Raises UsageError where it has another
    tokenizer, or its tensors are not those of a head for it."""
    speculation = parse_speculation(settings["speculative"].value)
    if not speculation.reference:
        return None
    draft = resolve(speculation.reference, settings.cache, progress, offline=settings.offline, weights=weights)
    check_draft(model, draft, speculation.method)
    if weights:
        (check_same_tokenizer if speculation.method == DRAFT else check_head_tensors)(model, draft)
    return draft


def _check_finished(settings: Settings) -> None:
    speculation = parse_speculation(settings["speculative"].value)
    if speculation.reference:
        raise UsageError(
            f"--speculative {speculation.method}={speculation.reference} is not available",
            why="the engine was built without it",
            remedy="name the model that the engine was built from",
        )


def obtain_planned(
    plan: Plan, settings: Settings, progress: Progress, cancel: threading.Event | None = None
) -> tuple[Plan, Engine]:
    """The plan's engine; should its build fail, that of the next profile, once. Raises what obtain_engine does."""
    cache, calibration, policy = settings.cache, settings.calibration, policy_of(settings)
    try:
        return plan, obtain_engine(plan, cache, progress, calibration, cancel, policy)
    except BuildError as error:
        if not plan.next_profile or isinstance(error, BuildCancelledError | OutOfMemoryError):
            raise
        second = _next_plan(plan, settings, error)
    for reason in second.reasons:
        progress.note(reason.text)
    return second, obtain_engine(second, cache, progress, calibration, cancel, policy)


def _next_plan(plan: Plan, settings: Settings, error: BuildError) -> Plan:
    override = Sourced(plan.next_profile, Origin.DEFAULT, "the failed build's plan")
    overrides = replace(overrides_of(settings), profile=override)
    second = _planned(plan.machine, plan.model, overrides, available_kinds(), draft=plan.draft)
    why = f"{plan.chosen.profile} failed to build, so {plan.next_profile} is built instead: {error}"
    return replace(second, reasons=(Reason("next_profile", why), *second.reasons))


def obtain_engine(
    plan: Plan,
    cache: Path,
    progress: Progress,
    calibration: Path | None = None,
    cancel: threading.Event | None = None,
    policy: StorePolicy | None = None,
) -> Engine:
    """The engine of the plan: the store's, a remote's, or a new one.

    Raises BuildError, StorageError, CacheError, StoppedError.
    """
    part = kind_named(plan.chosen.engine).build
    versions = part.versions()
    inputs = key_inputs(plan, part.key.choices(plan), versions, calibration)
    key = engine_key(_stem(plan.model.reference), plan.chosen, inputs)
    if finished := finished_engine(plan.model.directory):
        return admit(finished, plan, inputs, policy or StorePolicy(), progress, portable=part.portable)
    manifest = Manifest(
        SCHEMA,
        key,
        plan.chosen.engine,
        _stem(plan.model.reference),
        plan.model.revision,
        vars(plan.chosen),
        inputs,
        versions,
        model=model_as_json(plan.model),
    )
    stop, store = cancel or threading.Event(), Store(cache)

    def make(workspace: Path, shared: Progress) -> Manifest:
        began = time.monotonic()
        logs, alike = str(cache / "logs" / key), engines_alike(store, manifest)
        site = Site(plan.device_uuids, part.parallel_ranks(plan), logs, alike)
        record = run_build(part, plan.model, plan.chosen, workspace, shared, calibration, stop, site, plan.draft)
        if stop.is_set():
            raise StoppedError("stopped while building", remedy="nothing half-built was kept")
        Timings(cache).record([timing(plan, "building", time.monotonic() - began)])
        return replace(manifest, build={**record, "kv": asdict(plan.memory.kv)})

    wanted = Wanted(key, part.disk_bytes(plan, store.tmp) + _COMPANION_BYTES)
    return obtain(store, wanted, policy or StorePolicy(), progress, make, stop)


def timing(plan: Plan, phase: str, seconds: float = 0.0) -> Timing:
    """What a phase of this plan's engine took, or is to be compared by."""
    chosen, gpus = plan.chosen, [gpu.name for gpu in plan.machine.gpus if gpu.index in plan.chosen.devices]
    machine = ", ".join([plan.machine.cpu.name, f"{plan.machine.cpu.cores} cores", *gpus])
    return Timing(phase, chosen.engine, chosen.precision, weights_bytes(plan), seconds, machine)


def _stem(named: str) -> str:
    """What the engine's key is prefixed with: the model's own name, not the one it is served under."""
    reference = named.removeprefix("hf://").split("@")[0]
    if not reference.startswith((".", "~", "/")):
        return reference
    return Path(os.path.abspath(Path(reference).expanduser())).name  # noqa: PTH100 (a link is called what it is called)
