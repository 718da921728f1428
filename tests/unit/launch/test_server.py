"""What a server writes is read to its end, whatever it is: a server whose pipe is full stands still."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.waiting import SECONDS

from stoker.launch.installation import Installation
from stoker.launch.server import LONGEST_LINE, Command, TritonServer

LONG = 3 * LONGEST_LINE + 7


async def _said(folder: Path, program: str) -> tuple[list[str], int]:
    """The lines that are kept of a program's, and its exit code."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    installation = Installation(folder, folder, folder, ())
    server = TritonServer(Command(installation, folder, folder, folder, ""), process, os.open(folder, os.O_RDONLY))
    reading = asyncio.create_task(server.relay())
    code = await asyncio.wait_for(process.wait(), SECONDS)
    await asyncio.wait_for(reading, SECONDS)
    os.close(server.directory)
    return list(server.lines), code


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (f"print('a' * {LONG}); print('after')", ["a" * LONGEST_LINE, "after"]),
        (f"print('a' * {LONG}, end='')", ["a" * LONGEST_LINE]),
        ("print('one'); print('two', end='')", ["one", "two"]),
        ("import sys; sys.stdout.buffer.write('é'.encode() * 3 + b'\\xff\\nb\\r\\n\\n')", ["ééé\ufffd", "b"]),
        ("", []),
    ],
    ids=["long", "long, without an end", "no end", "bytes that are no text", "nothing"],
)
def test_lines_are_cut_and_none_ends_the_reading(program: str, lines: list[str], tmp_path: Path) -> None:
    assert asyncio.run(_said(tmp_path, program)) == (lines, 0)
