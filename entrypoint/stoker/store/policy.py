"""What the user has decided about the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKS = ("sizes", "background", "full")
SIGNATURES = ("off", "warn", "enforce")


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
