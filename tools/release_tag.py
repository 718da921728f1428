"""What a git tag releases: `python3 tools/release_tag.py v1.2.3 [--image cpu]`.

Standard library only; run by the release workflow. Without `--image` it prints `name=value` lines for $GITHUB_OUTPUT:
`version` of the package, `chart` of the Helm chart and `flags` of `gh release create`. With it, the tags that the image
gets, one a line. A tag vX.Y.Z is a release and vX.Y.Z-rcN a candidate, which moves no floating tag; neither does a
release older than one of its series that exists, such as v1.2.4 after v1.3.0. Exits with 1 for any other tag.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NUMBER = r"(0|[1-9]\d*)"
TAG = re.compile(rf"v{NUMBER}\.{NUMBER}\.{NUMBER}(?:-rc{NUMBER})?")
DEFAULT_IMAGE = "cpu"
"""The image that is `latest`: the one that runs on any machine."""


@dataclass(frozen=True)
class Release:
    numbers: tuple[int, int, int]
    candidate: int | None = None

    @property
    def version(self) -> str:
        """Of the package, in the form of PEP 440, which `stoker manifest` puts into an image's name."""
        return self._dotted if self.candidate is None else f"{self._dotted}rc{self.candidate}"

    @property
    def semantic(self) -> str:
        """Of the chart and in the changelog: Helm takes semantic versions only."""
        return self._dotted if self.candidate is None else f"{self._dotted}-rc{self.candidate}"

    @property
    def _dotted(self) -> str:
        return ".".join(map(str, self.numbers))


def parse(tag: str) -> Release | None:
    """None for a tag that releases nothing."""
    found = TAG.fullmatch(tag)
    if found is None:
        return None
    major, minor, patch, candidate = found.groups()
    return Release((int(major), int(minor), int(patch)), None if candidate is None else int(candidate))


def is_newest(release: Release, tags: Iterable[str], shared: int = 0) -> bool:
    """Whether no release among `tags` sharing its first `shared` numbers is newer; a candidate never is the newest."""
    others = [other for other in map(parse, tags) if other is not None and other.candidate is None]
    series = [other.numbers for other in others if other.numbers[:shared] == release.numbers[:shared]]
    return release.candidate is None and release.numbers >= max(series, default=release.numbers)


def image_tags(image: str, release: Release, tags: Iterable[str]) -> list[str]:
    """The image's own tag of this release, then the floating ones that it moves; `tags` are the repository's."""
    known = list(tags)
    major, minor, _ = release.numbers
    floating = [
        (f"{image}-{major}.{minor}", 2),
        (f"{image}-{major}", 1),
        (image, 0),
        *([("latest", 0)] if image == DEFAULT_IMAGE else []),
    ]
    moved = [name for name, shared in floating if is_newest(release, known, shared)]
    return [f"{image}-{release.version}", *moved]


def outputs(release: Release, tags: Iterable[str]) -> list[str]:
    flags = f"--latest={str(is_newest(release, tags)).lower()}"
    flags += "" if release.candidate is None else " --prerelease"
    return [f"version={release.version}", f"chart={release.semantic}", f"flags={flags}"]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    parser.add_argument("--image", help="which image's tags to print, such as cpu")
    given = parser.parse_args(arguments)
    release = parse(given.tag)
    if release is None:
        print(f"error: {given.tag} releases nothing\nhint: tag vX.Y.Z, or vX.Y.Z-rcN for a candidate", file=sys.stderr)
        return 1
    tags = subprocess.run(["git", "tag", "--list"], capture_output=True, text=True, check=True).stdout.split()
    print("\n".join(image_tags(given.image, release, tags) if given.image else outputs(release, tags)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
