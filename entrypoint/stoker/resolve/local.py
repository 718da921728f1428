"""Models in a directory of this machine, the demo model among them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.errors import DamagedModelError, ModelNotFoundError, StorageError, UsageError
from stoker.progress import Progress
from stoker.resolve.checkpoint import (
    ADAPTER,
    CONFIG,
    INDEX,
    Check,
    check_missing,
    check_words,
    describe,
    file_names,
    read_config,
    read_headers,
    refuse_other_formats,
    small_files,
    weight_files,
)
from stoker.resolve.digests import DIGESTS, DigestCache, directory_revision
from stoker.resolve.gguf import SUFFIX, first_gguf, head_of, refuse_gguf
from stoker.resolve.json_files import read_json, read_optional_json
from stoker.resolve.links import check_links
from stoker.resolve.model import Model
from stoker.resolve.nemo import refuse_foreign

DEMO_DIRECTORY = Path(__file__).parent / "demo"
DEMO_DRAFT_DIRECTORY = Path(__file__).parent / "demo_draft"
DEMO_HEAD_DIRECTORY = Path(__file__).parent / "demo_eagle3"
DEMO_DIRECTORIES = {"demo": DEMO_DIRECTORY, "demo-draft": DEMO_DRAFT_DIRECTORY, "demo-eagle3": DEMO_HEAD_DIRECTORY}


def resolve_directory(
    directory: Path, reference: str, served_name: str, models: Path, progress: Progress, *, weights: bool, check: Check
) -> Model:
    """The model in `directory`. Its revision is a digest over its files, remembered under `models`."""
    directory = directory.absolute()
    try:
        found = _Found(directory, _file_names(directory), reference, served_name)
        check_links(directory, found.names)
        if CONFIG not in found.names:
            raise _no_config(directory, found.names)
        if not weights:
            return found.plan(check)
        return found.measure(check, DigestCache(models / DIGESTS), progress)
    except OSError as error:
        raise StorageError(f"{directory} could not be read", why=str(error)) from error


@dataclass(frozen=True)
class _Found:
    """A directory with a config.json, and the `names` of what may belong to the model in it."""

    directory: Path
    names: frozenset[str]
    reference: str
    served_name: str

    def plan(self, check: Check) -> Model:
        """Uses the headers of the weights if all are here; nothing is hashed."""
        config = read_config(self.directory, check)
        index = read_optional_json(self.directory / INDEX)
        files = weight_files(self.names, index)
        if not files and self.names.intersection(ADAPTER):
            raise _no_safetensors(self.directory, self.names)
        headers = read_headers(self.directory, files, index) if files and self.names.issuperset(files) else None
        return describe(self.directory, config, self.reference, self.served_name, headers)

    def measure(self, check: Check, digests: DigestCache, progress: Progress) -> Model:
        directory, names = self.directory, self.names
        index = read_optional_json(directory / INDEX)
        files = weight_files(names, index)
        if not names.intersection(files) and not index:
            raise _no_safetensors(directory, names)
        config = read_config(directory, check)
        check_missing(str(directory), files, names)
        model = describe(directory, config, self.reference, self.served_name, read_headers(directory, files, index))
        check_words(directory, config, names, str(directory))
        selected = tuple(sorted({*small_files(names), *files}))
        revision = directory_revision(directory, selected, digests, progress)
        return replace(model, revision=revision, directory=directory, files=selected)


def _file_names(directory: Path) -> frozenset[str]:
    if directory.is_dir():
        return file_names(directory)
    if directory.suffix == SUFFIX and directory.is_file():
        raise refuse_gguf(str(directory), head_of(directory))
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
    if name := first_gguf(names):
        return refuse_gguf(str(directory), head_of(directory / name))
    if not weight_files(names, None):
        return _no_safetensors(directory, names)
    return DamagedModelError(
        f"{directory} has no config.json",
        remedy="copy config.json from the model's repository; it says what the model is",
    )


def _no_safetensors(directory: Path, names: Iterable[str]) -> Exception:
    if not set(names).intersection(ADAPTER) and (name := first_gguf(names)):
        return refuse_gguf(str(directory), head_of(directory / name))
    convert = f"from transformers import AutoModelForCausalLM as M; M.from_pretrained('{directory}')"
    remedy = f"convert them where transformers and PyTorch are installed: {convert}.save_pretrained('{directory}')"
    return refuse_other_formats(str(directory), names, remedy, lambda name: read_json(directory / name))
