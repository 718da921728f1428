"""What building takes of the disk."""

from __future__ import annotations

from pathlib import Path

from stoker.build.kind import weights_bytes
from stoker.plan.types import Plan


def disk_bytes(plan: Plan, workspace: Path) -> int:
    return 0 if _links(plan, workspace) else weights_bytes(plan)


def _links(plan: Plan, workspace: Path) -> bool:
    """The checkpoint is used unchanged, on the disk that it is on already."""
    directory, bits = plan.model.directory, plan.chosen.precision in ("f16", "bf16")
    kept = bits or plan.model.quantization is not None
    return kept and directory is not None and directory.stat().st_dev == workspace.stat().st_dev
