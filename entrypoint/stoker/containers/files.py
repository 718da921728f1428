"""Files and directories of this host that the server in a container is to read: where it finds them, and the mounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import UsageError
from stoker.settings.layers import Settings

INSIDE = "/run/stoker"
_FIXED = ("calibration", "public-key", "private-key")
_RENEWED = ("api-key-file", "tls-cert", "tls-key", "tls-client-ca")
_STORE = "response-store"

Mounts = Mapping[str, Mapping[str, str]]
NO_MOUNTS: Mounts = {}


@dataclass(frozen=True)
class Handed:
    """`values`: of settings, as the server is to be told them. `mounts`: by what they are on this host."""

    values: Mapping[str, str]
    mounts: Mounts


def handed(settings: Settings) -> Handed:
    """UsageError for what is not there."""
    values: dict[str, str] = {}
    mounts: dict[str, dict[str, str]] = {}
    for name, source, file in _sources(settings):
        inside = mounts.setdefault(str(source), {"bind": f"{INSIDE}/{name}", "mode": "ro"})["bind"]
        values[name] = f"{inside}/{file}" if file else inside
    if (store := _store(settings)) is not None:
        values[_STORE] = f"{INSIDE}/{_STORE}"
        mounts[str(store)] = {"bind": values[_STORE], "mode": "rw"}
    return Handed(values, mounts)


def _sources(settings: Settings) -> Iterator[tuple[str, Path, str]]:
    """What is mounted for each file, and the file's name in it. A file that is replaced when it is renewed needs its
    folder: the mount of a file is of what the file was."""
    for name in (*_FIXED, *_RENEWED):
        if not settings.is_given(name) or settings[name].value is None:
            continue
        path = Path(settings[name].value).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"--{name} {path}: there is no such file", remedy=f"name one with --{name}")
        if name in _RENEWED and path.resolve().parent == path.parent.resolve():
            yield name, path.parent, path.name
        else:
            yield name, path.resolve(), ""


def _store(settings: Settings) -> Path | None:
    """None for the one in memory."""
    value = settings[_STORE].value
    if not value or value == "memory":
        return None
    path = Path(str(value)).expanduser().absolute()
    if not path.is_dir():
        why = "its owner should be one whom the server may write as: user 1000, or group 0"
        raise UsageError(f"--{_STORE} {path}: there is no such directory", why=why, remedy="make it, or say `memory`")
    return path
