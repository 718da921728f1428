"""The resolve step: from a model reference to a Model."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.progress import Progress
from stoker.resolve.checkpoint import Check, accept_any
from stoker.resolve.hub import HubModels
from stoker.resolve.local import DEMO_DIRECTORIES, resolve_directory
from stoker.resolve.model import Model
from stoker.resolve.model_manifest import named_model
from stoker.resolve.nemo import archive_in, resolve_archive
from stoker.resolve.reference import Demo, LocalDirectory, parse_reference


def resolve(
    reference: str,
    cache: Path,
    progress: Progress,
    *,
    offline: bool = False,
    weights: bool = True,
    check: Check = accept_any,
) -> Model:
    """The model that `reference` names, its files available and checked.

    Hub models are kept under `cache`/models. With `offline`, or HF_HUB_OFFLINE set, no connection is made.
    Without `weights` only the facts are fetched (config.json and the sizes of the weights), for planning: the result
    has no directory. `check` sees config.json before anything large is read, and may refuse it. Raises what that
    raises, UsageError, a ModelError, HubUnreachableError, CacheError or StorageError.
    """
    progress.phase("resolving", reference)
    parsed = parse_reference(reference)
    models = cache / "models"
    if isinstance(parsed, Demo):
        place = DEMO_DIRECTORIES[parsed.name]
        return resolve_directory(place, reference, parsed.name, models, progress, weights=weights, check=check)
    if isinstance(parsed, LocalDirectory):
        if named := named_model(parsed.path):
            return resolve(named, cache, progress, offline=offline, weights=weights, check=check)
        if archive := archive_in(parsed.path):
            return resolve_archive(archive, reference, models, progress, weights=weights)
        name = Path(os.path.abspath(parsed.path)).name or "model"  # noqa: PTH100 (a link is called what it is called)
        return resolve_directory(parsed.path, reference, name, models, progress, weights=weights, check=check)
    return HubModels(parsed, reference, models, progress, check).resolve(offline=offline, weights=weights)
