"""Draws docs/architecture.svg from the imports of the code: `python tools/draw_architecture.py [FILE]`.

With `--figures` it prints how many modules there are, their longest chain of imports, and what imports in circles.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path
from textwrap import wrap

import grimp

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/architecture.svg"
PACKAGE = "stoker"

Imports = Mapping[str, frozenset[str]]
"""What each name imports."""

_WIDTH, _ROW, _BOX, _MARGIN = 1120, 76, 50, 10
_LEFT, _RIGHT = 310, 810  # of the boxes that are alone in their layer
_STYLE = """\
  <style>
    text { font: 13px sans-serif; fill: #1b1f24 } .name { font-weight: bold } .says { font-size: 11px; fill: #57606a }
    rect { fill: #f6f8fa; stroke: #57606a; rx: 6 } .base { fill: #fff; stroke-dasharray: 4 3 }
    path { fill: none; stroke: #0969da; stroke-opacity: .65; stroke-width: 1.4; marker-end: url(#head) }
  </style>
  <defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0 8 4 0 8z" style="fill: #0969da; stroke: none; marker-end: none"/></marker></defs>
"""


def layers() -> list[list[str]]:
    """The packages from the top down, as the import contract in pyproject.toml orders them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^layers = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert found, "pyproject.toml has the layers of the import contract"
    return [re.split(r"\s*[:|]\s*", line) for line in re.findall(r'"([^"]+)"', found[1])]


def modules(*, type_checking: bool = True) -> Imports:
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=not type_checking, cache_dir=None)
    return {name: frozenset(graph.find_modules_directly_imported_by(name)) for name in graph.modules}


def packages(imports: Imports) -> Imports:
    """The same between what lies directly in the package."""
    found: dict[str, set[str]] = {}
    for name, targets in imports.items():
        if source := _top(name):
            found.setdefault(source, set()).update(_top(target) for target in targets)
    return {name: frozenset(targets - {name, ""}) for name, targets in found.items()}


def _top(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def reached(imports: Imports, start: str) -> set[str]:
    """Everything that `start` imports, and what that imports in turn."""
    seen: set[str] = set()
    waiting = [*imports.get(start, ())]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imports.get(name, ())
    return seen


def shortened(imports: Imports) -> Imports:
    """Without what follows from the rest: A imports C where A imports B and B imports C. Only for imports in layers."""
    return {
        name: frozenset(
            target
            for target in targets
            if not any(target in reached(imports, between) for between in targets - {target})
        )
        for name, targets in imports.items()
    }


def circles(imports: Imports) -> list[frozenset[str]]:
    """The groups whose members all import each other, directly or not; largest first."""
    reach = {name: reached(imports, name) for name in imports}
    groups = {frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in imports}
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)


def longest_chain(imports: Imports) -> list[str]:
    """Of modules each of which imports the next; a circle counts as one link, named after its first member."""
    part_of = {name: min(group) for group in circles(imports) for name in group}
    link = {name: part_of.get(name, name) for name in imports}
    links: dict[str, set[str]] = {}
    for name, targets in imports.items():
        links.setdefault(link[name], set()).update(link[target] for target in targets if link[target] != link[name])
    chain: dict[str, list[str]] = {}
    for name in TopologicalSorter(links).static_order():
        chain[name] = [name, *max((chain[target] for target in sorted(links.get(name, ()))), key=len, default=[])]
    return max(chain.values(), key=len)


def figures(imports: Imports) -> str:
    chain, between = longest_chain(imports), packages(imports)
    knots = [f"{len(group)} of {', '.join(sorted(group))}" for group in circles(between)]
    return (
        f"modules: {len(imports)}\n"
        f"longest chain of imports: {len(chain)} ({' > '.join(name.removeprefix(f'{PACKAGE}.') for name in chain)})\n"
        f"circles of modules: {[len(group) for group in circles(imports)] or 'none'}\n"
        f"circles of packages: {'; '.join(knots) or 'none'}\n"
    )


def said(package: str) -> str:
    """The first sentence of a package's own description."""
    folder = ROOT / "entrypoint" / PACKAGE / package
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.\s|\.$", text.partition("\n")[0])[0]


def drawn() -> str:
    *upper, base = layers()
    names = {name for row in upper for name in row}
    imports = {name: targets & names for name, targets in packages(modules()).items() if name in names}
    place = _places(upper)
    height = _MARGIN + (len(upper) + 1) * _ROW
    shapes = [*map(_box, place.values()), _base(base, len(upper))]
    arrows = _arrows(shortened(imports), place)
    view = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    title = "  <title>The packages of Stoker; an arrow goes from what imports to what is imported</title>\n"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {view}>\n{title}{_STYLE}{"".join([*arrows, *shapes])}</svg>\n'


@dataclass(frozen=True)
class Place:
    """A package's box, in pixels."""

    name: str
    row: int
    left: float
    right: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    @property
    def top(self) -> float:
        return _MARGIN + self.row * _ROW


def _places(rows: Sequence[Sequence[str]]) -> dict[str, Place]:
    """The first layer is as wide as the picture, one that several packages share too; the others are in the middle."""
    return {
        name: Place(name, number, *_span(number, column, len(row)))
        for number, row in enumerate(rows)
        for column, name in enumerate(row)
    }


def _span(row: int, column: int, of: int) -> tuple[float, float]:
    if row and of == 1:
        return _LEFT, _RIGHT
    width = (_WIDTH - 2 * _MARGIN) / of
    return _MARGIN + column * width + 5, _MARGIN + (column + 1) * width - 5


def _box(place: Place) -> str:
    size = f'x="{place.left:g}" y="{place.top}" width="{place.right - place.left:g}" height="{_BOX}"'
    lines = wrap(said(place.name), int((place.right - place.left) / 6))[:2]
    name_at = place.top + (20 if len(lines) < 2 else 16)
    texts = [_text(place.middle, name_at, place.name, "name")]
    texts += [_text(place.middle, name_at + 16 + 13 * number, line, "says") for number, line in enumerate(lines)]
    return f"  <rect {size}/>\n{''.join(texts)}"


def _base(names: Iterable[str], row: int) -> str:
    y, lines = _MARGIN + row * _ROW, wrap(", ".join(names), 110)
    size = f'x="{_MARGIN + 5}" y="{y}" width="{_WIDTH - 2 * _MARGIN - 10}" height="{26 + 15 * len(lines)}"'
    texts = [_text(_WIDTH / 2, y + 34 + 15 * number, line, "name") for number, line in enumerate(lines)]
    caption = _text(_WIDTH / 2, y + 17, "modules that every package may import", "says")
    return f'  <rect class="base" {size}/>\n{caption}{"".join(texts)}'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'  <text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="middle">{escape(text)}</text>\n'


def _arrows(imports: Imports, place: Mapping[str, Place]) -> list[str]:
    pairs = [(place[name], place[target]) for name in place for target in sorted(imports.get(name, ()))]
    around = [(a, b) for a, b in pairs if a.left == _LEFT and b.row - a.row > 1]
    paths = [_straight(a, b) if b.row - a.row == 1 else _down(a, b) for a, b in pairs if (a, b) not in around]
    paths += [_around(a, b, lane) for lane, (a, b) in enumerate(around)]
    return [f'  <path d="{path}"/>\n' for path in paths]


def _straight(a: Place, b: Place) -> str:
    left, right = max(a.left, b.left), min(a.right, b.right)
    return _down(a, b) if left >= right else f"M{(left + right) / 2:g} {a.top + _BOX}V{b.top}"


def _down(a: Place, b: Place) -> str:
    """Beside the boxes in the middle, and into the side of the one it leads to."""
    on_left = a.middle < _WIDTH / 2
    x = min(a.middle, _LEFT - 14) if on_left else max(a.middle, _RIGHT + 14)
    return f"M{x:g} {a.top + _BOX}V{b.top + _BOX / 2:g}H{_LEFT if on_left else _RIGHT}"


def _around(a: Place, b: Place, lane: int) -> str:
    """Between two boxes in the middle, past those between them."""
    x, side = (_LEFT - 30 - 8 * lane, _LEFT) if lane % 2 else (_RIGHT + 30 + 8 * lane, _RIGHT)
    return f"M{side} {a.top + 0.8 * _BOX:g}H{x:g}V{b.top + 0.2 * _BOX:g}H{side}"


def main(arguments: Sequence[str]) -> None:
    if "--figures" in arguments:
        print(figures(modules(type_checking=False)), end="")
        return
    Path(arguments[0] if arguments else TARGET).write_text(drawn(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
