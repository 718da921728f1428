"""How a place that engines are fetched from and pushed to is written."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from stoker.errors import UsageError
from stoker.redaction import redacted

FORMS = "oci://registry/repository, s3://bucket/prefix, https://server/path, file:///path or hf://org/name"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# Who takes no password from a URL, and where it takes it from.
_PASSWORDS = {
    "oci": "run `docker login REGISTRY`",
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
    "hf": "set HF_TOKEN",
    "file": "mount the directory",
}


def check_address(address: str) -> None:
    """UsageError for what cannot be a remote, without the password that it may contain."""
    shown = redacted(address)
    split = _split(address)
    if split.scheme not in ("oci", "s3", "https", "http", "file", "hf"):
        raise UsageError(f"{shown!r} is not a remote", remedy=f"a remote is {FORMS}")
    rest = split.path if split.scheme == "file" else split.netloc
    if not rest or (split.scheme in ("oci", "hf") and not split.path.strip("/")):
        raise UsageError(f"{shown!r} is not complete", remedy=f"a remote is {FORMS}")
    if split.scheme in _PASSWORDS and "@" in split.netloc:
        raise UsageError(f"{shown!r} contains a password", why="not used there", remedy=_PASSWORDS[split.scheme])
    if split.scheme == "oci":
        _check_registry(split, shown)


def _split(address: str) -> SplitResult:
    try:
        split = urlsplit(address)
        _ = split.port
    except ValueError as error:
        raise UsageError(f"{redacted(address)!r} is not an address: {error}", remedy=f"a remote is {FORMS}") from error
    return split


def _check_registry(split: SplitResult, shown: str) -> None:
    if not _HOST.fullmatch(split.netloc) or split.query or split.fragment:
        raise UsageError(f"{shown!r} names no registry", remedy="a registry is HOST or HOST:PORT")
    if not _REPOSITORY.fullmatch(split.path.strip("/")):
        why = "a repository is in small letters, digits and . _ - /"
        raise UsageError(f"{shown!r} names no repository", why=why, remedy=f"a remote is {FORMS}")
