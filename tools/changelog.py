"""The section of CHANGELOG.md for one version, as a release's text: `python tools/changelog.py 1.2.3`.

Standard library only; run by the release workflow. A candidate such as 1.2.3-rc1 without a section of its own takes
[Unreleased]. Exits with 1 where the changelog has no such section.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def section(text: str, version: str) -> str | None:
    """What stands under `## [version]`, without the heading and without the links at the end; None without one."""
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|^\[[^]\n]+\]: |\Z)", text, re.M | re.S)
    return found[1].strip() if found else None


def release_text(text: str, version: str) -> str | None:
    """What a release of this version says; None or empty without a section."""
    found = section(text, version)
    return section(text, "Unreleased") if found is None and "-rc" in version else found


def main(version: str) -> int:
    text = release_text(CHANGELOG.read_text(encoding="utf-8"), version)
    if not text:
        print(f"error: CHANGELOG.md has no section [{version}]\nhint: rename [Unreleased] first", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
