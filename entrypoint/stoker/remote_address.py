"""How a place that engines are fetched from and pushed to is written."""

from __future__ import annotations

from urllib.parse import urlsplit

from stoker.errors import UsageError

FORMS = "oci://registry/repository, s3://bucket/prefix, https://server/path, file:///path or hf://org/name"


def check_address(address: str) -> None:
    """UsageError for what cannot be a remote."""
    split = urlsplit(address)
    if split.scheme not in ("oci", "s3", "https", "http", "file", "hf"):
        raise UsageError(f"{address!r} is no place for engines", remedy=f"a remote is {FORMS}")
    rest = split.path if split.scheme == "file" else split.netloc
    if not rest or (split.scheme in ("oci", "hf") and not split.path.strip("/")):
        raise UsageError(f"{address!r} is not complete", remedy=f"a remote is {FORMS}")
