"""Models of the Hugging Face Hub: asked for, fetched, checked, and found again without the network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import HubUnreachableError, ModelError, ModelNotFoundError
from stoker.progress import Progress
from stoker.resolve.checkpoint import (
    ADAPTER,
    CONFIG,
    HF_QUANT_CONFIG,
    INDEX,
    PLANNING_FILES,
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
from stoker.resolve.download import Download, storage_error
from stoker.resolve.facts import Config, architecture_facts
from stoker.resolve.gguf import HEAD_BYTES, first_gguf, refuse_gguf
from stoker.resolve.hub_cache import RepositoryCache, is_commit
from stoker.resolve.hub_verify import remember_weights, verify_small_files, verify_weights
from stoker.resolve.json_files import read_optional_json
from stoker.resolve.kept import kept_names
from stoker.resolve.known_names import probably_meant
from stoker.resolve.links import check_links
from stoker.resolve.model import Model
from stoker.resolve.reference import HubRepository
from stoker.resolve.safetensors_header import Header
from stoker.resolve.weights import indexed_weights

if TYPE_CHECKING:
    from stoker.resolve.hub_client import HubClient, Listing

_TRUE = frozenset({"1", "on", "yes", "true"})
_NO_SAFETENSORS = (
    "another revision may have them (the conversion bot's pull requests are org/name@refs/pr/1 and so on); "
    "https://huggingface.co/spaces/safetensors/convert makes them"
)


def offline_by_environment() -> bool:
    """HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE, read as huggingface_hub reads them."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.lower() in _TRUE


class HubModels:
    """Finds one repository's model, in the cache or at the hub."""

    def __init__(
        self, repository: HubRepository, reference: str, models: Path, progress: Progress, check: Check
    ) -> None:
        self._repository = repository
        self._reference = reference
        self._models = models
        self._cache = RepositoryCache(models, repository.id)
        self._progress = progress
        self._check = check

    def resolve(self, *, offline: bool, weights: bool) -> Model:
        """Raises one of errors.ModelError's kinds, HubUnreachableError, CacheError or StorageError."""
        try:
            return self._resolve(offline, weights)
        except OSError as error:
            raise storage_error(error, self._models) from error

    def _resolve(self, offline: bool, weights: bool) -> Model:
        if offline or offline_by_environment():
            return self._cached(weights) or self._not_cached()
        if is_commit(self._repository.revision) and self._is_complete(self._repository.revision):
            return self._of_cache(self._repository.revision, weights)
        try:
            return self._fetched(weights)
        except HubUnreachableError as error:
            model = self._cached(weights)
            if model is None:
                raise
            self._progress.note(f"{error.what}; using the cached {self._repository.id} of commit {model.revision[:12]}")
            return model

    def _not_cached(self) -> Model:
        near = probably_meant(self._repository.id, kept_names(self._models))
        guess = f"did you mean {near}? " if near else ""
        raise ModelNotFoundError(
            f"{self._repository.id}@{self._repository.revision} is not in the cache {self._models}",
            why="offline mode fetches nothing",
            remedy=f"{guess}resolve it once with a network (without HF_HUB_OFFLINE), or copy a filled cache here",
        )

    def _cached(self, weights: bool) -> Model | None:
        """The model as the cache holds it, or None where files that are needed are not there."""
        commit = self._cache.commit_of(self._repository.revision)
        if commit is None or not (self._cache.snapshot(commit) / CONFIG).is_file():
            return None
        return None if weights and not self._is_complete(commit) else self._of_cache(commit, weights)

    def _of_cache(self, commit: str, weights: bool) -> Model:
        if not weights:
            return self._planned(commit, None)
        return self._measured(commit, _file_names(self._cache.snapshot(commit)))

    def _is_complete(self, commit: str) -> bool:
        """Weights are fetched last, so where they are, everything is, save for what was deleted since."""
        directory = self._cache.snapshot(commit)
        names = _file_names(directory)
        if CONFIG not in names or not _whole(directory):
            return False
        files = weight_files(names, read_optional_json(directory / INDEX))
        return bool(files) and names.issuperset(files)

    def _fetched(self, weights: bool) -> Model:
        from stoker.resolve.hub_client import HubClient

        client = HubClient(self._repository)
        listing = client.listing()
        if CONFIG not in listing.files:
            raise self._no_config(client, listing)
        self._fetch(client, listing, small_files(listing.files) if weights else PLANNING_FILES)
        if weights:
            self._fetch_weights(client, listing)
        self._remember(listing.commit, weights)
        if weights:
            return self._measured(listing.commit, listing.files)
        return self._planned(listing.commit, self._remote_headers(client, listing))

    def _remember(self, commit: str, weights: bool) -> None:
        """A revision goes on meaning the commit that is here in full until a newer one is."""
        known = self._cache.commit_of(self._repository.revision)
        if weights or known is None or not self._is_complete(known):
            self._cache.remember_commit(self._repository.revision, commit)

    def _no_config(self, client: HubClient, listing: Listing) -> ModelError:
        if not weight_files(listing.files, None):
            return self._no_weights(client, listing)
        return ModelError(f"{self._repository.id} has no config.json", remedy="name a repository made for transformers")

    def _no_weights(self, client: HubClient, listing: Listing) -> ModelError:
        def read(name: str) -> Mapping[str, object]:
            return client.small_json(listing.files[name], listing.commit)

        if (name := first_gguf(listing.files)) and not set(listing.files).intersection(ADAPTER):
            return refuse_gguf(self._repository.id, client.head(listing.files[name], listing.commit, HEAD_BYTES))
        return refuse_other_formats(self._repository.id, listing.files, _NO_SAFETENSORS, read)

    def _fetch(self, client: HubClient, listing: Listing, names: Iterable[str]) -> None:
        from stoker.resolve.hub_client import CommitSource

        files = [listing.files[name] for name in names if name in listing.files]
        download = Download(self._cache, CommitSource(client, listing.commit), self._progress)
        arrived = download.fetch(files, listing.commit)
        remember_weights((self._cache.blob(file.etag) for file in arrived), self._models, self._progress)

    def _fetch_weights(self, client: HubClient, listing: Listing) -> None:
        """Only after everything that could make the download useless was looked at."""
        directory = self._cache.snapshot(listing.commit)
        verify_small_files(directory, listing.files)
        config = read_config(directory, self._check)
        files = weight_files(listing.files, read_optional_json(directory / INDEX))
        if not files:
            raise self._no_weights(client, listing)
        check_missing(self._repository.id, files, listing.files)
        check_words(directory, config, listing.files, self._repository.id)
        if not self._is_complete(listing.commit):
            self._progress.phase("downloading", self._repository.id)
        self._fetch(client, listing, files)

    def _remote_headers(self, client: HubClient, listing: Listing) -> Mapping[str, Header] | None:
        """Headers by ranged requests, unless local files or the index already give the weights' size."""
        directory = self._cache.snapshot(listing.commit)
        index = read_optional_json(directory / INDEX)
        files = weight_files(listing.files, index)
        if self._is_complete(listing.commit) or _index_suffices(directory, index, read_config(directory, self._check)):
            return None
        check_missing(self._repository.id, files, listing.files)
        with ThreadPoolExecutor(max_workers=8) as pool:
            headers = pool.map(lambda name: client.header(listing.files[name], listing.commit), files)
            return dict(zip(files, headers, strict=True))

    def _planned(self, commit: str, headers: Mapping[str, Header] | None) -> Model:
        directory = self._cache.snapshot(commit)
        check_links(directory, _file_names(directory))
        config = read_config(directory, self._check)
        if headers is None and self._is_complete(commit):
            index = read_optional_json(directory / INDEX)
            headers = read_headers(directory, weight_files(_file_names(directory), index), index)
        model = describe(directory, config, self._reference, self._repository.id, headers)
        return replace(model, revision=commit)

    def _measured(self, commit: str, names: Iterable[str]) -> Model:
        directory = self._cache.snapshot(commit)
        check_links(directory, _file_names(directory))
        index = read_optional_json(directory / INDEX)
        files = weight_files(names, index)
        selected = tuple(sorted({*small_files(_file_names(directory)), *files}))
        verify_small_files(directory, selected)
        verify_weights(directory, files, self._models, self._progress)
        config = read_config(directory, self._check)
        headers = read_headers(directory, files, index)
        check_words(directory, config, selected, self._repository.id)
        model = describe(directory, config, self._reference, self._repository.id, headers)
        self._cache.touch()
        return replace(model, revision=commit, directory=directory, files=selected)


def _file_names(directory: Path) -> frozenset[str]:
    """Names whose contents are there; a link without its blob counts as absent."""
    return file_names(directory) if directory.is_dir() else frozenset()


def _whole(directory: Path) -> bool:
    """Whether every link, those of sub-folders too, has its blob."""
    return all(path.exists() for path in directory.rglob("*"))


def _index_suffices(directory: Path, index: Config | None, config: Config) -> bool:
    if index is None or (directory / HF_QUANT_CONFIG).is_file():
        return False
    return indexed_weights(index, config, architecture_facts(config)) is not None
