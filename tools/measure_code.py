"""How long functions and files are, against what CONTRIBUTING.md promises: `python tools/measure_code.py [FOLDER...]`.

Exits with 1 where a promise is broken. A function's lines are all from its `def` to its end, docstring included.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PRODUCT = "entrypoint"
FOLDERS = (PRODUCT, "tests", "tools")
MEDIAN_BELOW = 8
SHORT_BELOW = 30
SHORT_SHARE = 0.97
LONGEST_FUNCTION = 60
FILES_BELOW = 400
ANY_BELOW = {PRODUCT: 0.0061, "tests": 0.0140, "tools": 0.0126}
"""Of a folder's lines, those that name `Any`, where mypy checks nothing. To be lowered, never raised."""
_ANY = re.compile(r"\bAny\b")


@dataclass(frozen=True)
class Piece:
    """A function or a file, and its lines."""

    name: str
    lines: int


def functions_in(path: Path) -> Iterator[Piece]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Piece(f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)


def file_of(path: Path) -> Piece:
    return Piece(str(path), len(path.read_text(encoding="utf-8").splitlines()))


def figures(functions: Sequence[Piece], files: Sequence[Piece]) -> str:
    """One line a figure."""
    lines = sorted(piece.lines for piece in functions)
    longest, largest = (max(pieces, key=lambda piece: piece.lines) for pieces in (functions, files))
    return (
        f"functions: {len(lines)}; median {median(lines):g} lines, p90 {lines[int(0.9 * len(lines))]}, "
        f"{_share(functions):.1%} under {SHORT_BELOW}, longest {longest.lines} ({longest.name})\n"
        f"files: {len(files)}; median {median(piece.lines for piece in files):g} lines, "
        f"longest {largest.lines} ({largest.name})\n"
    )


def broken(functions: Sequence[Piece], files: Sequence[Piece]) -> list[str]:
    """Each promise that does not hold, in a line that names what breaks it."""
    middle = median(piece.lines for piece in functions)
    faults = [f"{piece.name}: {piece.lines} lines, more than {LONGEST_FUNCTION}" for piece in _above(functions)]
    faults += [f"{piece.name}: {piece.lines} lines, not under {FILES_BELOW}" for piece in files if _is_large(piece)]
    if middle >= MEDIAN_BELOW:
        faults.append(f"the median function has {middle:g} lines, not under {MEDIAN_BELOW}")
    if _share(functions) < SHORT_SHARE:
        faults.append(f"{_share(functions):.1%} of functions are under {SHORT_BELOW} lines, not {SHORT_SHARE:.0%}")
    return faults


def any_share(paths: Sequence[Path]) -> float:
    """Imports of the name do not count."""
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    named = [line for line in lines if _ANY.search(line) and not line.lstrip().startswith(("from ", "import "))]
    return len(named) / max(1, len(lines))


def too_many_anys(folder: str, paths: Sequence[Path]) -> list[str]:
    """A fault where more lines than the folder may have name it; other folders have no bound."""
    share, bound = any_share(paths), ANY_BELOW.get(folder, 1.0)
    if share < bound:
        return []
    return [f"{share:.2%} of lines name Any, not under {bound:.2%}: say the type, or object and narrow it"]


def _above(functions: Sequence[Piece]) -> Iterator[Piece]:
    return (piece for piece in functions if piece.lines > LONGEST_FUNCTION)


def _is_large(piece: Piece) -> bool:
    return piece.lines >= FILES_BELOW


def _share(functions: Sequence[Piece]) -> float:
    return sum(piece.lines < SHORT_BELOW for piece in functions) / len(functions)


def main(arguments: Sequence[str]) -> int:
    failed = False
    for folder in arguments or FOLDERS:
        paths = sorted(Path(folder).rglob("*.py"))
        functions, files = [piece for path in paths for piece in functions_in(path)], [file_of(path) for path in paths]
        print(f"{folder}\n{figures(functions, files)}", end="")
        faults = broken(functions, files)
        faults += too_many_anys(folder, paths)
        for fault in faults:
            print(f"broken: {fault}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
