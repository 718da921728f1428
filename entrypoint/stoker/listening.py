"""Where servers of this machine listen: what an address means, and, from /proc, who has a port."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LISTENING = "0A"


def shown(host: str, port: int) -> str:
    """As in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(host: str, port: int) -> tuple[int, int, int, Any]:
    """Family, type and protocol of a socket, and what to bind it to. OSError for what is no address or port.

    `::` is `0.0.0.0` on a machine without IPv6.
    """
    if not 0 <= port <= 65535:
        raise OSError("ports are 0 to 65535")
    if host == "::" and not has_ipv6():
        host = "0.0.0.0"  # noqa: S104 - what `::` means there
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return family, kind, protocol, address


def has_ipv6() -> bool:
    """Whether a socket can be bound there: a kernel may know IPv6 and have it switched off."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Listener:
    """`address` as numbers, `::` and `0.0.0.0` for all of the machine's; `inode` of its socket."""

    address: str
    inode: str
    port: int


def listeners(port: int) -> list[Listener]:
    return [each for each in all_listeners() if each.port == port]


def all_listeners() -> list[Listener]:
    """On every port, of this network namespace."""
    return [each for table in ("tcp", "tcp6") for each in _of(Path("/proc/net", table))]


def _of(table: Path) -> Iterator[Listener]:
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].rpartition(":")
            if fields[3] == _LISTENING:
                yield Listener(_address(address), fields[9], int(port, 16))


def _address(words: str) -> str:
    """The kernel writes 32-bit words in the byte order of the machine: little-endian on all that Stoker runs on."""
    packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    return str(ipaddress.ip_address(packed))


def process_of(listener: Listener) -> str:
    """As `process 5 (python)`; empty when it cannot be seen."""
    link = f"socket:[{listener.inode}]"
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if link in open_files(directory):
                return f"process {directory.name} ({(directory / 'comm').read_text().strip()})"
    return ""


def open_files(process: Path) -> Iterator[str]:
    """Of a process, by its directory in /proc: as the kernel shows them, `socket:[INODE]` for a socket. None where it
    may not be looked at."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(descriptor.readlink())
