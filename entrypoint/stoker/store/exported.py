"""Serving straight from an engine's directory, such as `stoker export` writes: no model, no build, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stoker.errors import DamagedEngineError, DoesNotFitError
from stoker.json_text import parse_json
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides, Plan
from stoker.progress import Progress
from stoker.resolve.document import model_from
from stoker.resolve.links import check_links
from stoker.resolve.model import Model
from stoker.resolve.reference import LocalDirectory, parse_reference
from stoker.store.engine import Engine
from stoker.store.manifest import NAME, UnusableEngineError, check_digests, check_sizes, read_manifest
from stoker.store.policy import StorePolicy
from stoker.store.trust import check_signature, signed_parts

_LIMITS = ("max_batch_size", "max_num_tokens", "max_seq_len", "tensor_parallel", "pipeline_parallel", "kv_precision")


def directory_of(reference: str) -> Path | None:
    parsed = parse_reference(reference)
    return parsed.path.absolute() if isinstance(parsed, LocalDirectory) else None


def finished_engine(directory: Path | None) -> Engine | None:
    """The engine in a directory, None where that holds a model. DamagedEngineError where files are not there."""
    if directory is None or not (directory / NAME).is_file():
        return None
    try:
        manifest = read_manifest(directory)
        check_links(directory, (NAME, *(file.path for file in manifest.files)))
        check_sizes(directory, manifest)
    except UnusableEngineError as fault:
        raise _damaged(directory, fault) from fault
    return Engine(directory, manifest)


def engine_model(engine: Engine) -> Model:
    """The model that it was built from, as far as planning needs it. DamagedEngineError where it does not tell."""
    try:
        config = parse_json((engine.directory / "config.json").read_bytes())
        return replace(model_from(engine.manifest.model), config=config, directory=engine.directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedEngineError(
            f"the engine {engine.directory} does not say what model it was built from",
            why=str(error),
            remedy="export it again with this version of Stoker",
        ) from error


def engine_overrides(engine: Engine, overrides: Overrides, portable: bool) -> Overrides:
    """The user's, and what the engine is already built for: its precision and, unless it is `portable`, its limits."""
    chosen = engine.manifest.chosen
    fixed = ("precision",) if portable else ("precision", *_LIMITS)
    return replace(overrides, **{name: Sourced(chosen[name], Origin.FILE, NAME) for name in fixed})


def admit(
    engine: Engine,
    plan: Plan,
    inputs: Mapping[str, object],
    policy: StorePolicy,
    progress: Progress,
    *,
    portable: bool,
) -> Engine:
    """The engine, once it is known to suit this machine and to be whole. `inputs`: what a new one's key would be of;
    `portable`: engines of its kind run on any machine of their architecture.

    DoesNotFitError, or DamagedEngineError, which also stands for a signature that is missing or wrong.
    """
    progress.note(f"serving the engine {engine.manifest.key} from {engine.directory}")
    _check_suits(engine, plan, inputs, portable)
    try:
        manifest = (engine.directory / NAME).read_bytes()
        check_signature(manifest, signed_parts(engine.directory), policy, progress, str(engine.directory))
        if policy.check == "full":
            check_digests(engine.directory, engine.manifest)
    except UnusableEngineError as fault:
        raise _damaged(engine.directory, fault) from fault
    return engine


def _check_suits(engine: Engine, plan: Plan, inputs: Mapping[str, object], portable: bool) -> None:
    built = engine.manifest.inputs
    aspects = ("build",) if portable else ("build", "versions", "hardware")
    differing = [name for name in aspects if built.get(name) != parse_json(json.dumps(inputs[name]))]
    if portable and built["hardware"]["architecture"] != plan.machine.cpu.architecture:
        differing.append("hardware")
    if differing:
        name = differing[0]
        raise DoesNotFitError(
            f"the engine {engine.directory} was not built for this machine",
            why=f"its {name} is {built.get(name)}, and this one would need {inputs[name]}",
            remedy="build it here from the model, or export one that was built on such a machine",
        )


def _damaged(directory: Path, fault: UnusableEngineError) -> DamagedEngineError:
    return DamagedEngineError(
        f"the engine {directory} cannot be used", why=str(fault), remedy="export it again, or copy it again"
    )
