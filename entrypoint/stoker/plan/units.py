"""Sizes and numbers as people read them."""

from __future__ import annotations

_MIB = 1024**2
_GIB = 1024**3


def size_text(size: int) -> str:
    """Bytes as "7.25 GiB", or "96.0 MiB" below one GiB."""
    return f"{size / _GIB:.2f} GiB" if size >= _GIB else f"{size / _MIB:.1f} MiB"


def count_text(count: int) -> str:
    return f"{count:,}"
