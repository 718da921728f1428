"""`nim-serve-ray`: what NVIDIA NIM starts on each node of several, here a server with `--nodes`; Ray is not used."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.cli import serve
from stoker.cli.arguments import Parser, command_parser, parse
from stoker.errors import UsageError


def run(arguments: Sequence[str]) -> int:
    """UsageError where nothing says how many nodes there are."""
    parser = Parser(prog="nim-serve-ray", description="Serve as one of several nodes.")
    parser.add_argument("--head", action="store_true", help="as the leader")
    parser.add_argument("--head-address", metavar="HOST:PORT", help="as one of the others")
    parser.add_argument("--port", help="Ray's; not used")
    options, others = parser.parse_known_args(list(arguments))
    if options.head == bool(options.head_address):
        raise UsageError("nim-serve-ray needs --head or --head-address", why="a node is the leader or has one")
    meant = [*(["--node-rank", "0"] if options.head else ["--leader", _host(options.head_address)]), *others]
    _check(meant)
    return serve.run(meant)


def _host(address: str) -> str:
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdecimal() else address
    return host.strip("[]")


def _check(arguments: Sequence[str]) -> None:
    _, settings = parse(command_parser("serve", ""), arguments)
    if settings["nodes"].value == 1:
        raise UsageError(
            "nim-serve-ray does not know how many nodes there are",
            remedy="set NIM_NUM_COMPUTE_NODES or LWS_GROUP_SIZE, or give --nodes",
        )
