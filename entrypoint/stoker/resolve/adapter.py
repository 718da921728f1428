"""Adapters on their way into the server: found, checked, and kept as they were checked.

What an engine reads is a copy in the cache, named by its contents: whoever can write to an adapter's own directory
cannot change what is served under its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import DamagedModelError, ModelError, ModelNotFoundError, StorageError, UnsupportedModelError
from stoker.progress import Progress
from stoker.resolve.checkpoint import TOKENIZER
from stoker.resolve.json_files import read_json
from stoker.resolve.links import check_links
from stoker.resolve.lora import CONFIG, MAX_BYTES, WEIGHTS, LoraConfig, in_layer, part_of, read_lora_config
from stoker.resolve.reference import Demo, HubRepository, LocalDirectory, parse_reference
from stoker.resolve.safetensors_header import Header, Tensor, read_header
from stoker.resolve.vocabularies import added_tokens

FOLDER = "adapters"
_DTYPES = ("F32", "F16", "BF16")
_CONFIG_BYTES = 4 << 20
_CHUNK = 1 << 20
_KEPT = 64  # adapters in the cache, beside those that are served


@dataclass(frozen=True)
class ResolvedAdapter:
    """`directory` holds the checked copy; `revision` is a commit of the hub, or a digest of the files. `modules` are
    those that it changes, with their inputs and outputs."""

    reference: str
    revision: str
    base: str
    rank: int
    bytes: int
    directory: Path
    modules: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Fitting:
    """What an adapter has to fit: the model that is served, and the limits of its engine. `shapes`: [outputs, inputs]
    of the model's matrices by module, from its layer on, None for those that are stored in another form; empty where
    nothing is known of them. `tokens`: those that the model's tokenizer knows."""

    model: str
    max_rank: int
    shapes: Mapping[str, tuple[int, int] | None]
    tokens: frozenset[str]


def resolve_adapter(
    reference: str, cache: Path, progress: Progress, fitting: Fitting, *, offline: bool = False
) -> ResolvedAdapter:
    """UsageError, a ModelError, HubUnreachableError, CacheError or StorageError; each names the adapter."""
    parsed = parse_reference(reference)
    if isinstance(parsed, Demo):
        raise ModelNotFoundError("demo is a model, not an adapter", remedy="name a directory, or org/name")
    try:
        if isinstance(parsed, LocalDirectory):
            return _kept(parsed.path.absolute(), reference, "", cache, fitting)
        directory, commit = _of_hub(parsed, cache / "models", progress, offline)
        return _kept(directory, reference, commit, cache, fitting)
    except OSError as error:
        raise StorageError(f"the adapter {reference} could not be read", why=str(error)) from error


def _of_hub(repository: HubRepository, models: Path, progress: Progress, offline: bool) -> tuple[Path, str]:
    from stoker.resolve.adapter_hub import fetch_adapter

    return fetch_adapter(repository, models, progress, offline)


def _kept(source: Path, reference: str, commit: str, cache: Path, fitting: Fitting) -> ResolvedAdapter:
    """Checks the adapter before its data is read, copies it, and checks the copy's data."""
    names = [name for name in (CONFIG, WEIGHTS, TOKENIZER, "added_tokens.json") if (source / name).is_file()]
    _check_files(source, names, reference)
    check_links(source, names)
    if (size := (source / WEIGHTS).stat().st_size) > MAX_BYTES:
        raise ModelError(f"the adapter {reference} is too large", why=f"{size:,} bytes, of {MAX_BYTES:,} at most")
    config = read_lora_config(_small_json(source / CONFIG), reference)
    modules = _checked(read_header(source / WEIGHTS), config, reference, fitting)
    _check_tokens(source, names, reference, fitting)
    directory, digest = _copied(source, cache / FOLDER, reference)
    if _checked(read_header(directory / WEIGHTS), config, reference, fitting) != modules:
        raise DamagedModelError(f"the adapter {reference} changed while it was read", remedy="try again")
    size = (directory / WEIGHTS).stat().st_size
    return ResolvedAdapter(reference, commit or digest, config.base, config.largest_rank, size, directory, modules)


def _check_files(source: Path, names: list[str], reference: str) -> None:
    if not source.is_dir():
        raise ModelNotFoundError(f"there is no adapter {reference}", why=f"{source} is not a directory")
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in names]:
        why = f"it has no {missing[0]}"
        if (source / "adapter_model.bin").is_file():
            why += "; adapter_model.bin is a pickle, which can run code, and is not read"
        raise ModelError(
            f"{reference} is not an adapter that can be served", why=why, remedy="save it with PEFT 0.5 or later"
        )


def _small_json(path: Path) -> dict[str, object]:
    if path.stat().st_size > _CONFIG_BYTES:
        raise DamagedModelError(f"{path} is damaged", why=f"it has {path.stat().st_size:,} bytes")
    return read_json(path)


def _checked(header: Header, config: LoraConfig, reference: str, fitting: Fitting) -> dict[str, tuple[int, int]]:
    """The modules that it changes, with inputs and outputs."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in header.tensors.items():
        part = part_of(name, reference)
        if len(tensor.shape) != 2 or tensor.dtype not in _DTYPES:
            why = f"it is {tensor.dtype} {list(tensor.shape)}"
            raise UnsupportedModelError(
                f"{reference} holds a tensor {name[:200]} that is not a matrix of floats", why=why
            )
        halves.setdefault(part.module, {})[part.part] = tensor
    if not halves:
        raise DamagedModelError(f"{reference} has no weights in {WEIGHTS}", remedy="fetch or copy it again")
    for module, parts in halves.items():
        _check_rank(module, parts, config, reference, fitting)
    found = {module: (parts["A"].shape[1], parts["B"].shape[0]) for module, parts in halves.items()}
    _check_base(found, config, reference, fitting)
    return found


def _check_rank(module: str, parts: Mapping[str, Tensor], config: LoraConfig, reference: str, fitting: Fitting) -> None:
    if set(parts) != {"A", "B"}:
        raise DamagedModelError(f"{reference} is incomplete", why=f"one half of {module[:200]} is missing")
    rank, stated = parts["A"].shape[0], config.rank_of(module)
    if rank != parts["B"].shape[1] or rank != stated or rank < 1:
        why = f"{module[:200]} has rank {rank} in one half, {parts['B'].shape[1]} in the other, {stated} in {CONFIG}"
        raise DamagedModelError(f"{reference} contradicts itself", why=why)
    if rank > fitting.max_rank:
        raise UnsupportedModelError(
            f"{reference} has rank {rank}",
            why=f"the engine takes adapters of rank {fitting.max_rank} at most",
            remedy=f"start with --max-lora-rank {rank}",
        )


def _check_base(found: Mapping[str, tuple[int, int]], config: LoraConfig, reference: str, fitting: Fitting) -> None:
    made_for = f"it was made for {config.base}" if config.base else "its base is another model"
    for module, (inputs, outputs) in found.items() if fitting.shapes else ():
        name = in_layer(module)
        if name not in fitting.shapes:
            why = f"{fitting.model} has no module {module[:200]}; {made_for}"
        elif fitting.shapes[name] not in (None, (outputs, inputs)):
            own = fitting.shapes[name]
            why = f"{module[:200]} is {list(own or ())} in {fitting.model}, and the adapter is for {[outputs, inputs]}"
            why += f"; {made_for}"
        else:
            continue
        raise UnsupportedModelError(f"{reference} does not fit {fitting.model}", why=why)


def _check_tokens(source: Path, names: list[str], reference: str, fitting: Fitting) -> None:
    """Its maker's tools may have left a tokenizer beside it; what that has beyond the model's, the model never saw."""
    added: set[str] = set()
    if "added_tokens.json" in names:
        added |= set(_small_json(source / "added_tokens.json"))
    if TOKENIZER in names:
        added |= {token for token, _ in added_tokens(read_json(source / TOKENIZER, strict=False), source / TOKENIZER)}
    if fitting.tokens and (unknown := sorted(added - fitting.tokens)):
        shown = ", ".join(repr(token[:40]) for token in unknown[:3])
        raise UnsupportedModelError(
            f"{reference} was trained with tokens that {fitting.model} does not have",
            why=f"its tokenizer adds {shown}" + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""),
            remedy="merge it into its base with PEFT's merge_and_unload, and serve the result with its tokenizer",
        )


def _copied(source: Path, folder: Path, reference: str) -> tuple[Path, str]:
    """The copy, and the digest that it is named by."""
    folder.mkdir(parents=True, exist_ok=True)
    workspace = folder / f".{os.getpid()}.{os.urandom(4).hex()}"
    workspace.mkdir()
    try:
        digest = hashlib.sha256()
        for name in (CONFIG, WEIGHTS):
            for chunk in _copying(source / name, workspace / name):
                digest.update(chunk)
        _check_numbers(workspace / WEIGHTS, reference)
        place = folder / digest.hexdigest()[:40]
        if not place.is_dir():
            workspace.rename(place)
        os.utime(place)
        return place, digest.hexdigest()
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _copying(source: Path, target: Path) -> Iterator[bytes]:
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_CHUNK):
            writing.write(chunk)
            yield chunk


def _check_numbers(path: Path, reference: str) -> None:
    """DamagedModelError for a number that is infinite or none: it would spoil the answers of a whole batch."""
    import numpy as np

    header = read_header(path)
    kinds = {"F32": (np.uint32, 0x7F800000), "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80)}
    with path.open("rb") as file:
        for name, tensor in header.tensors.items():
            kind, exponent = kinds[tensor.dtype]
            file.seek(header.data_start + tensor.begin)
            left = tensor.end - tensor.begin
            while left > 0:
                bits = np.frombuffer(file.read(min(left, _CHUNK)), kind)
                left -= bits.nbytes
                if not bits.size or ((bits & exponent) == exponent).any():
                    why = f"{name[:200]} holds numbers that are infinite or not a number"
                    raise DamagedModelError(f"the adapter {reference} is damaged", why=why)


def prune(cache: Path, used: set[Path]) -> None:
    """Deletes the least recently used copies, except some. Another server of the same cache may do so meanwhile."""
    free: list[tuple[float, Path]] = []
    for path in set((cache / FOLDER).glob("*")) - used:
        with contextlib.suppress(OSError):
            free.append((path.stat().st_mtime, path))
    for _, path in sorted(free, reverse=True)[_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
