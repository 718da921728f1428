"""Whether the disk has room for a build, before any of its work is done."""

from __future__ import annotations

import shutil
from pathlib import Path

from stoker.build.kind import BuildPart
from stoker.errors import StorageError
from stoker.plan.types import Plan
from stoker.plan.units import size_text


def check_space(part: BuildPart, plan: Plan, workspace: Path) -> None:
    """StorageError, with what is missing, if less is free than the build writes."""
    needed, free = part.disk_bytes(plan, workspace), shutil.disk_usage(workspace).free
    if free >= needed:
        return
    raise StorageError(
        f"not enough disk space to build {plan.model.served_name}",
        why=f"the build writes about {size_text(needed)}, and {size_text(free)} are free at {workspace.parent}",
        remedy=f"free {size_text(needed - free)}, or choose a cache on another disk with --cache",
    )
