"""From a remote's address to the remote. Each kind's library is imported only for an address that needs it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from stoker.errors import UsageError
from stoker.installing import with_extra
from stoker.remote_address import FORMS, check_address
from stoker.store.remotes.remote import Remote
from stoker.store.remotes.tree import TreeRemote

_HUB = re.compile(r"(?P<id>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?P<folder>/.*)?")


def open_remote(address: str) -> Remote:
    """Asks it nothing yet. UsageError for a bad address, or where its library is not installed."""
    check_address(address)
    split = urlsplit(address)
    name = f"{split.netloc}{split.path}".rstrip("/")
    if split.scheme == "oci":
        return _module("oci").OciRemote(address, split.netloc, split.path.strip("/"))  # type: ignore[no-any-return]
    if split.scheme == "s3":
        return TreeRemote(address, _module("s3").S3Tree(split.netloc, split.path))
    if split.scheme == "file":
        return TreeRemote(address, _module("directory").DirectoryTree(Path(unquote(split.path))))
    if split.scheme == "hf":
        match = _HUB.fullmatch(name)
        if match is None:
            raise UsageError(f"{address!r} names no repository of the hub", remedy=f"a remote is {FORMS}")
        tree = _module("hub").HubTree(match["id"], match["revision"] or "main", match["folder"] or "")
        return TreeRemote(address, tree)
    return TreeRemote(address, _module("web").WebTree(address))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"stoker.store.remotes.{name}")
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed", why="this kind of remote needs it", remedy=with_extra("remotes")
        ) from error
