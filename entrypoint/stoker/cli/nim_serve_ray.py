"""`nim-serve-ray`: what NVIDIA NIM starts on each node of several. Recognised, to say what there is instead."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import UsageError


def run(arguments: Sequence[str]) -> int:
    """UsageError."""
    raise UsageError(
        " ".join(["nim-serve-ray", *arguments]) + " is not supported",
        why="a server runs on one node; Ray is not used",
        remedy="give one node enough GPUs (`stoker plan MODEL` says how many), or run a server on each node behind a "
        "load balancer",
    )
