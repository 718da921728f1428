"""Adapters of the Hugging Face Hub: their few files at a fixed commit, in the cache beside the models."""

from __future__ import annotations

from pathlib import Path

from stoker.errors import HubUnreachableError, ModelError, ModelNotFoundError
from stoker.progress import Progress, Silent
from stoker.resolve.checkpoint import TOKENIZER
from stoker.resolve.download import Download, storage_error
from stoker.resolve.hub import offline_by_environment
from stoker.resolve.hub_cache import RepositoryCache, is_commit
from stoker.resolve.hub_verify import remember_weights, verify_weights
from stoker.resolve.lora import CONFIG, MAX_BYTES, WEIGHTS
from stoker.resolve.reference import HubRepository

_FILES = (CONFIG, TOKENIZER, "added_tokens.json", WEIGHTS)


def fetch_adapter(repository: HubRepository, models: Path, progress: Progress, offline: bool) -> tuple[Path, str]:
    """Its directory, and the commit. Offline, or where the hub does not answer, what the cache holds serves."""
    cache = RepositoryCache(models, repository.id)
    try:
        if offline or offline_by_environment():
            return _cached(cache, repository, models) or _not_cached(repository, models)
        if is_commit(repository.revision) and (found := _cached(cache, repository, models)):
            return found
        return _fetched(cache, repository, models, progress)
    except HubUnreachableError:
        if found := _cached(cache, repository, models):
            return found
        raise
    except OSError as error:
        raise storage_error(error, models) from error


def _cached(cache: RepositoryCache, repository: HubRepository, models: Path) -> tuple[Path, str] | None:
    commit = cache.commit_of(repository.revision)
    if commit is None:
        return None
    directory = cache.snapshot(commit)
    if not (directory / WEIGHTS).is_file() or not (directory / CONFIG).is_file():
        return None
    verify_weights(directory, (WEIGHTS,), models, Silent())
    return directory, commit


def _not_cached(repository: HubRepository, models: Path) -> tuple[Path, str]:
    raise ModelNotFoundError(
        f"the adapter {repository.id}@{repository.revision} is not in the cache {models}",
        why="and offline mode fetches nothing",
        remedy="load it once with a network, or copy a filled cache here",
    )


def _fetched(cache: RepositoryCache, repository: HubRepository, models: Path, progress: Progress) -> tuple[Path, str]:
    from stoker.resolve.hub_client import CommitSource, HubClient

    client = HubClient(repository)
    listing = client.listing()
    for name in (CONFIG, WEIGHTS):
        if name not in listing.files:
            raise ModelError(f"{repository.id} is not an adapter that can be served", why=f"it has no {name}")
    if (size := listing.files[WEIGHTS].size) > MAX_BYTES:
        raise ModelError(f"the adapter {repository.id} is too large", why=f"{size:,} bytes, of {MAX_BYTES:,} at most")
    files = [listing.files[name] for name in _FILES if name in listing.files]
    arrived = Download(cache, CommitSource(client, listing.commit), progress).fetch(files, listing.commit)
    remember_weights((cache.blob(file.etag) for file in arrived), models, progress)
    cache.remember_commit(repository.revision, listing.commit)
    return cache.snapshot(listing.commit), listing.commit
