"""Names of images, and what to do about one that no registry has."""

from __future__ import annotations

from pathlib import Path

from stoker.version import __version__

_LOCAL = "localhost/"
_RELEASED = Path(__file__).with_name("repository.txt")
"""Where a release's images are, such as ghcr.io/OWNER/stoker: written by tools/release.py, absent in a checkout."""


def own_image(tag: str) -> str:
    """The name of Stoker's image with this tag: the release's that this Stoker is of, else what images/build makes."""
    if not _RELEASED.is_file():
        return f"stoker:{tag}"
    return f"{_RELEASED.read_text(encoding='utf-8').strip()}:{tag}-{__version__}"


def is_local(image: str) -> bool:
    """Whether the name is one of an image made on this host: of a registry's, at least the owner is a part."""
    return "/" not in image or image.startswith(_LOCAL)


def push_hint(image: str) -> str:
    """How others get the image; empty for a name that a registry may have."""
    if not is_local(image):
        return ""
    name = image.removeprefix(_LOCAL)
    own = f"REGISTRY/{name}"
    return (
        f"No registry has the image {name}: it is made on a host, by images/build in Stoker's sources. For any other "
        f"host push yours (docker tag {name} {own} && docker push {own}) and write this again with --image {own} or "
        f"STOKER_IMAGE={own}."
    )
