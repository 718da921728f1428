"""YAML whose every value still knows its line, so that an error can name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from stoker.errors import UsageError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALARS: Mapping[str, Callable[[str], Any]] = {
    f"{_TAG}int": int,
    f"{_TAG}float": float,
    f"{_TAG}bool": lambda text: text.lower() in ("true", "yes", "on"),
    f"{_TAG}null": lambda _: None,
}


@dataclass(frozen=True)
class Located:
    """`value` is a scalar, a list of Located or a dictionary of them by name; lines count from 1."""

    value: Any
    line: int

    def plain(self) -> Any:
        """Without lines."""
        if isinstance(self.value, dict):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def merged(self, over: Located) -> Located:
        """`over` wins; where both are mappings, name by name."""
        if not (isinstance(self.value, dict) and isinstance(over.value, dict)):
            return over
        both = {
            name: self.value[name].merged(child) if name in self.value else child for name, child in over.value.items()
        }
        return Located({**self.value, **both}, over.line)


def parse(text: str, file: str) -> Located:
    """Raises UsageError that names the file and line where the text is not YAML or repeats a name."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
        return Located({}, 1) if node is None else _located(node, file)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{file}, line {line}: not YAML", why=error.problem or "") from error
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply") from None


def _located(node: yaml.Node, file: str) -> Located:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return Located(_mapping(node, file), line)
    if isinstance(node, yaml.SequenceNode):
        return Located([_located(child, file) for child in node.value], line)
    return Located(_scalar(node), line)


def _mapping(node: yaml.MappingNode, file: str) -> dict[str, Located]:
    children: dict[str, Located] = {}
    for key, child in node.value:
        if key.value in children:
            raise UsageError(f"{file}, line {key.start_mark.line + 1}, field {key.value}: stands there twice")
        located = _located(child, file)
        children[str(key.value)] = Located(located.value, key.start_mark.line + 1)
    return children


def _scalar(node: yaml.Node) -> Any:
    try:
        return _SCALARS.get(node.tag, str)(node.value)
    except ValueError:  # 0x10, 1:30 and other spellings that no profile needs
        return node.value
