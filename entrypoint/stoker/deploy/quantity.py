"""Sizes as each platform writes them."""

from __future__ import annotations

_MIB, _GIB = 1 << 20, 1 << 30


def kubernetes_size(size: int) -> str:
    """`4Gi`, or `4608Mi` where it is no whole number of GiB; rounded up."""
    return f"{size // _GIB}Gi" if size % _GIB == 0 else f"{-(-size // _MIB)}Mi"


def docker_size(size: int) -> str:
    """`4g` or `4608m`, which Docker and podman read as binary units."""
    return kubernetes_size(size).removesuffix("i").lower()
