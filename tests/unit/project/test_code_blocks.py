"""Code in the documents runs: a block is run by a test that its marker names, or is checked here, or says why not.

A marker is a comment in the line before the block: `<!-- run by: FILE -->` or `<!-- not run: REASON -->`. A block
without one has only commands that this file checks: `stoker ...`, parsed by the command's own parser, and `make ...`.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from stoker import cli
from stoker.cli.arguments import Parser

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "images/README.md", "profiles/README.md")
FENCE = re.compile(
    r"(?:^ *<!-- (?P<marker>(?:not )?run(?: by)?: [^\n]+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}(?:stoker|make) [^\n]*\n)+")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FILTERS = ("cat", "echo", "kubectl")  # around a pipe
ELSEWHERE = {
    "docs/architecture.md": "tests/integration/kinds/test_echo.py",  # its files make a package there
    "docs/reference/commands.md": "tools/commands_page.py",  # written by it
}


@dataclass(frozen=True)
class Block:
    page: str
    marker: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}: {self.code.splitlines()[0][:40]}"


def blocks() -> Iterator[Block]:
    for path in sorted({path for pattern in PAGES for path in ROOT.glob(pattern)}):
        text, page = path.read_text(), str(path.relative_to(ROOT))
        for found in FENCE.finditer(text):
            yield Block(page, found["marker"] or "", found["language"], found["code"])
        for found in INDENTED.finditer(text):
            yield Block(page, "", "", found[0])


BLOCKS = list(blocks())
CHECKED = [block for block in BLOCKS if not block.marker and block.page not in ELSEWHERE]


def commands(code: str) -> list[list[str]]:
    """The command lines, without variables before them and comments behind. In a block that begins with a prompt, what
    has none is output; of a pipe each part is one."""
    lines = code.replace("\\\n", " ").splitlines()
    if code.startswith("$ "):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    words = [shlex.split(part, comments=True) for line in lines for part in line.split(" | ")]
    return [[*_without_variables(line)] for line in words if line and line[0] not in FILTERS]


def _without_variables(words: list[str]) -> list[str]:
    return words[1:] if words and re.fullmatch(r"[A-Z_]+=.*", words[0]) else words


class ParsedError(BaseException):
    """The command line was parsed: nothing more shall happen."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("parse_args", "parse_intermixed_args"):
        real = getattr(argparse.ArgumentParser, name)

        def parse(self: Parser, arguments: list[str], real: Any = real) -> NoReturn:
            real(self, arguments)
            raise ParsedError

        monkeypatch.setattr(Parser, name, parse)


@pytest.mark.parametrize("block", CHECKED, ids=str)
@pytest.mark.usefixtures("parse_only")
def test_commands_are_ones_that_there_are(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for program, *arguments in commands(block.code):
        if program == "make":
            assert {word for word in arguments if "=" not in word} <= TARGETS
            continue
        assert program == "stoker", f"say in a marker what runs this, or why nothing does: {block.code}"
        with pytest.raises(ParsedError):
            raise SystemExit(f"{cli.run(arguments)}: {capsys.readouterr().err}")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.marker], ids=str)
def test_markers_name_a_test_that_is_there_or_a_reason(block: Block) -> None:
    kind, _, rest = block.marker.partition(": ")
    assert kind in ("run by", "not run")
    named = re.findall(r"tests/[\w/.]+", rest)
    assert all((ROOT / name).exists() for name in named)
    assert named or (kind == "not run" and len(rest.split()) > 2)


def test_a_broken_command_is_found(parse_only: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", "demo", "--no-such-flag"]) == 64
    assert "--no-such-flag" in capsys.readouterr().err
    assert commands("A=1 stoker serve demo  # comment\n") == [["stoker", "serve", "demo"]]
    assert commands("$ stoker plan demo\nModel  demo\n") == [["stoker", "plan", "demo"]]
    assert commands("cat a | stoker generate demo\n") == [["stoker", "generate", "demo"]]


def test_there_are_blocks_of_each_sort() -> None:
    assert len(CHECKED) > 10
    assert {block.marker.partition(":")[0] for block in BLOCKS} >= {"", "run by", "not run"}
    assert all(Path(ROOT / test).exists() for test in ELSEWHERE.values())
