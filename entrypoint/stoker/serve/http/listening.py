"""Who listens on a TCP port of this machine, from /proc; nobody where that cannot be seen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LISTENING = "0A"


@dataclass(frozen=True)
class Listener:
    """`address` as numbers, `::` and `0.0.0.0` for all of the machine's; `inode` of its socket."""

    address: str
    inode: str


def listeners(port: int) -> list[Listener]:
    return [each for table in ("tcp", "tcp6") for each in _of(Path("/proc/net", table), port)]


def _of(table: Path, port: int) -> Iterator[Listener]:
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            address, _, hexadecimal = fields[1].rpartition(":")
            if fields[3] == _LISTENING and int(hexadecimal, 16) == port:
                yield Listener(_address(address), fields[9])


def _address(words: str) -> str:
    """The kernel writes 32-bit words in the byte order of the machine: little-endian on all that Stoker runs on."""
    packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    return str(ipaddress.ip_address(packed))


def process_of(listener: Listener) -> str:
    """As `process 5 (python)`; empty when it cannot be seen."""
    link = f"socket:[{listener.inode}]"
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(each.readlink()) == link for each in (directory / "fd").iterdir()):
                return f"process {directory.name} ({(directory / 'comm').read_text().strip()})"
    return ""
