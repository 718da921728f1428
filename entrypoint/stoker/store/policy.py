"""What the user has decided about the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stoker.errors import UsageError
from stoker.settings.layers import Settings
from stoker.store.signature import check_keys


@dataclass(frozen=True)
class StorePolicy:
    """`remotes` are asked in order before a build, and given what was built where `push` is set.

    `check`, at each start: every file's size only; the digests too, beside serving; or the digests before serving.
    `signatures`: of engines that come from outside the cache. `limit`: bytes of engines that the cache keeps.
    """

    remotes: tuple[str, ...] = ()
    push: bool = False
    check: str = "background"
    signatures: str = "off"
    public_key: Path | None = None
    private_key: Path | None = None
    limit: int | None = None


def policy_of(settings: Settings) -> StorePolicy:
    """UsageError for a policy that needs a key which is not given, or for a key that cannot be used: now, and not when
    an engine is to be judged or has been built for an hour."""
    public_key, signatures = settings["public-key"].value, str(settings["signatures"].value)
    private_key = settings["private-key"].value
    if signatures != "off" and public_key is None:
        raise UsageError(f"signatures={signatures} needs a key", remedy="name it with --public-key FILE")
    check_keys(public_key, private_key)
    places = settings["remotes"].value or ()
    return StorePolicy(
        remotes=tuple(place for place in places if not settings.offline or place.startswith("file://")),
        push=bool(settings["push"].value),
        check=str(settings["check"].value),
        signatures=signatures,
        public_key=public_key,
        private_key=private_key,
        limit=settings["cache-limit"].value,
    )
