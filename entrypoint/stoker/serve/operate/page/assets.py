"""The page's files as they are sent: compressed, with an entity tag, and with how long a browser may keep them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

_FOLDER = Path(__file__).parent
_VENDOR = "vendor/"
_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class Asset:
    """`stored` is what most browsers are sent: gzip, unless the format is compressed by itself."""

    stored: bytes
    gzipped: bool
    media_type: str
    cache_control: str
    etag: str

    def plain(self) -> bytes:
        return gzip.decompress(self.stored) if self.gzipped else self.stored


@cache
def _files() -> dict[str, Path]:
    """Every file by its name below /page/; libraries are on disk as .gz and have no such ending there."""
    paths = (path for path in _FOLDER.rglob("*") if path.is_file())
    names = {path.relative_to(_FOLDER).as_posix().removesuffix(".gz"): path for path in paths}
    return {name: path for name, path in names.items() if PurePosixPath(name).suffix not in (".py", ".pyc")}


def load_asset(name: str) -> Asset | None:
    """None for a name that is none of the page's files: only listed names are looked up, so none leads elsewhere."""
    return _load(name) if name in _files() else None


@cache
def _load(name: str) -> Asset:
    path = _files()[name]
    content = path.read_bytes()
    suffix = PurePosixPath(name).suffix
    gzipped = suffix != ".woff2"
    if gzipped and path.suffix != ".gz":
        content = gzip.compress(content, mtime=0)
    # Libraries have their version in the address; our own files are asked for again, and are mostly 304.
    keeping = _FOR_EVER if name.startswith(_VENDOR) and name.count("/") > 1 else "no-cache"
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(content, gzipped, _TYPES.get(suffix, "text/plain"), keeping, etag)
