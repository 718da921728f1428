"""The way through, up to a finished engine: probe, resolve, plan, build or find.

Serving goes on from here in stoker.cli.serve; `stoker plan` and `stoker build` stop earlier.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

from stoker.build.kinds import buildable_kinds, compiler_versions
from stoker.build.worker import run_build
from stoker.errors import StokerError
from stoker.plan.catalogue import load_catalogue
from stoker.plan.choose import choose_plan
from stoker.plan.nvidia.catalogue import load_nvidia
from stoker.plan.types import Plan
from stoker.probe.machine import Machine
from stoker.probe.probe import probe_machine
from stoker.progress import Progress
from stoker.resolve.model import Model
from stoker.resolve.resolve import resolve
from stoker.settings.layers import Settings
from stoker.store.engine import SCHEMA, Engine, Manifest
from stoker.store.key import engine_key, key_inputs
from stoker.store.manifest import UnusableEngineError
from stoker.store.store import Store

DEFAULT_MODEL = "demo"


class StoppedError(StokerError):
    """The user stopped Stoker before the engine was finished."""

    exit_code = 130
    code = "cancelled"


def make_plan_for(
    settings: Settings,
    progress: Progress,
    *,
    weights: bool = True,
    machine: Machine | None = None,
    buildable: bool = True,
) -> Plan:
    """Probes (unless a machine is given), resolves and plans. Without `weights` no weights are fetched.

    `buildable`: choose only engines that this installation can build.
    """
    progress.phase("probing")
    here = machine or probe_machine()
    model = resolve_model(settings, progress, weights=weights)
    progress.phase("planning")
    available = buildable_kinds() if buildable else None
    return choose_plan(here, model, load_catalogue(), load_nvidia(), settings.wishes(), available)


def resolve_model(settings: Settings, progress: Progress, *, weights: bool = True) -> Model:
    reference = settings.model or DEFAULT_MODEL
    model = resolve(reference, settings.cache, progress, offline=settings.offline, weights=weights)
    return replace(model, served_name=settings.served_model_name or model.served_name)


def obtain_engine(
    plan: Plan, cache: Path, progress: Progress, calibration: Path | None = None, cancel: threading.Event | None = None
) -> Engine:
    """The engine of the plan: the store's, or a new one. Raises BuildError, StorageError, CacheError, StoppedError."""
    store = Store(cache)
    versions = compiler_versions(plan.chosen.engine)
    inputs = key_inputs(plan, versions, calibration)
    key = engine_key(_stem(plan.model), plan.chosen, inputs)
    with store.lock(key):
        if engine := _finished(store, key, progress):
            progress.note(f"found the engine {key}")
            return engine
        progress.phase("building", key)
        manifest = Manifest(
            SCHEMA, key, plan.chosen.engine, _stem(plan.model), plan.model.revision, vars(plan.chosen), inputs, versions
        )
        return _build(store, plan, manifest, progress, calibration, cancel or threading.Event())


def _finished(store: Store, key: str, progress: Progress) -> Engine | None:
    try:
        return store.find(key)
    except UnusableEngineError as fault:
        progress.note(f"the engine {key} is damaged ({fault}); building it again")
        store.discard(key)
        return None


def _build(
    store: Store, plan: Plan, manifest: Manifest, progress: Progress, calibration: Path | None, cancel: threading.Event
) -> Engine:
    with store.workspace() as workspace:
        record = run_build(plan.model, plan.chosen, workspace, progress, calibration, cancel)
        if cancel.is_set():
            raise StoppedError("stopped while building", remedy="nothing half-built was kept")
        return store.publish(workspace, replace(manifest, build={**record, "kv_blocks": plan.memory.kv_blocks}))


def _stem(model: Model) -> str:
    """What the engine's key is prefixed with: the model's own name, not the one it is served under."""
    reference = model.reference.removeprefix("hf://").split("@")[0]
    if not reference.startswith((".", "~", "/")):
        return reference
    return Path(os.path.abspath(Path(reference).expanduser())).name  # noqa: PTH100 (a link is called what it is called)
