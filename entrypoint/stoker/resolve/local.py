"""Models in a directory of this machine, the demo model among them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from stoker.errors import DamagedModelError, ModelNotFoundError, StorageError, UsageError
from stoker.progress import Progress
from stoker.resolve.checkpoint import (
    CONFIG,
    INDEX,
    SMALL_FILES,
    check_missing,
    check_tokenizer,
    describe,
    file_names,
    read_config,
    read_headers,
    refuse_other_formats,
    weight_files,
)
from stoker.resolve.digests import DIGESTS, DigestCache, directory_revision
from stoker.resolve.json_files import read_optional_json
from stoker.resolve.model import Model
from stoker.resolve.nemo import refuse_foreign

DEMO_DIRECTORY = Path(__file__).parent / "demo"


def resolve_directory(
    directory: Path, reference: str, served_name: str, models: Path, progress: Progress, *, weights: bool
) -> Model:
    """The model in `directory`. Its revision is a digest over its files, remembered under `models`."""
    directory = directory.absolute()
    try:
        names = _file_names(directory)
        if CONFIG not in names:
            raise _no_config(directory, names)
        if not weights:
            return _plan(directory, names, reference, served_name)
        return _measure(directory, names, reference, served_name, models, progress)
    except OSError as error:
        raise StorageError(f"{directory} could not be read", why=str(error)) from error


def _file_names(directory: Path) -> frozenset[str]:
    if directory.is_dir():
        return file_names(directory)
    if directory.exists():
        raise UsageError(
            f"{directory} is a file", why="a model is a directory", remedy=f"name its directory: {directory.parent}"
        )
    raise ModelNotFoundError(f"there is no directory {directory}", remedy=_nearest(directory))


def _nearest(directory: Path) -> str:
    parent = next(path for path in directory.parents if path.is_dir())
    missing = directory.relative_to(parent).parts[0]
    siblings = [path.name for path in parent.iterdir() if path.is_dir()]
    close = difflib.get_close_matches(missing, siblings, n=1)
    return f"did you mean {parent / close[0]}?" if close else f"{parent} is the nearest directory that exists"


def _no_config(directory: Path, names: frozenset[str]) -> Exception:
    if foreign := refuse_foreign(directory):
        return foreign
    if not weight_files(names, None):
        return _no_safetensors(directory, names)
    return DamagedModelError(
        f"{directory} has no config.json",
        remedy="copy config.json from the model's repository; it says what the model is",
    )


def _no_safetensors(directory: Path, names: Iterable[str]) -> Exception:
    convert = f"from transformers import AutoModelForCausalLM as M; M.from_pretrained('{directory}')"
    remedy = f"convert them where transformers and torch are installed: {convert}.save_pretrained('{directory}')"
    return refuse_other_formats(str(directory), names, remedy)


def _plan(directory: Path, names: frozenset[str], reference: str, served_name: str) -> Model:
    """Uses the headers of the weights if all are here; nothing is hashed."""
    config = read_config(directory)
    index = read_optional_json(directory / INDEX)
    files = weight_files(names, index)
    headers = read_headers(directory, files, index) if files and names.issuperset(files) else None
    return describe(directory, config, reference, served_name, headers)


def _measure(
    directory: Path, names: frozenset[str], reference: str, served_name: str, models: Path, progress: Progress
) -> Model:
    index = read_optional_json(directory / INDEX)
    files = weight_files(names, index)
    if not names.intersection(files) and not index:
        raise _no_safetensors(directory, names)
    config = read_config(directory)
    check_missing(str(directory), files, names)
    model = describe(directory, config, reference, served_name, read_headers(directory, files, index))
    check_tokenizer(directory, names, str(directory))
    selected = tuple(sorted({*names.intersection(SMALL_FILES), *files}))
    revision = directory_revision(directory, selected, DigestCache(models / DIGESTS), progress)
    return replace(model, revision=revision, directory=directory, files=selected)
