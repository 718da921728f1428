"""YAML whose every value still knows its line, so that an error can name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from stoker.errors import UsageError
from stoker.yaml_text import YamlError, compose_yaml, line_of

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
        node = compose_yaml(text)
        return Located({}, 1) if node is None else _located(node, file)
    except YamlError as error:
        raise UsageError(f"{file}{error.place}: not YAML", why=error.problem) from error
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply") from None


def _located(node: yaml.Node, file: str) -> Located:
    line = line_of(node)
    if isinstance(node, yaml.MappingNode):
        return Located(_mapping(node, file), line)
    if isinstance(node, yaml.SequenceNode):
        return Located([_located(child, file) for child in node.value], line)
    return Located(_scalar(node), line)


def _mapping(node: yaml.MappingNode, file: str) -> dict[str, Located]:
    children: dict[str, Located] = {}
    for key, child in node.value:
        line = line_of(key)
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError(f"{file}, line {line}: a list or mapping where a field's name belongs")
        if key.value in children:
            raise UsageError(f"{file}, line {line}, field {key.value}: stands there twice")
        children[key.value] = Located(_located(child, file).value, line)
    return children


def _scalar(node: yaml.Node) -> Any:
    try:
        return _SCALARS.get(node.tag, str)(node.value)
    except ValueError:  # 0x10, 1:30 and other spellings that no profile needs
        return node.value
