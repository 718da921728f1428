"""YAML that others wrote: however it is damaged, one error."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

# What values that do not suit their tag raise: 2026-13-01 is a date, `!!bool maybe` a key, `!!int ""` an index.
_UNSUITABLE = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


class YamlError(ValueError):
    """`line`: where `problem` is, from 1, if that is known; `place` is that as it follows a file's name."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem = problem
        self.line = line
        self.place = "" if line is None else f", line {line}"


def parse_yaml(text: str | bytes) -> Any:
    """Raises YamlError, where `yaml` itself also raises what Python raises for a value, and RecursionError for a
    document that is nested too deeply."""
    import yaml

    node = compose_yaml(text)
    if node is None:
        return None
    try:
        return yaml.constructor.SafeConstructor().construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _damage(error) from error
    except _UNSUITABLE as error:
        raise _unsuitable(node) from error
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error


def compose_yaml(text: str | bytes) -> yaml.Node | None:
    """The document's root, which knows its place; None if it is empty. Raises YamlError."""
    import yaml

    try:
        node: yaml.Node | None = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise _damage(error) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise YamlError(str(error).partition("\n")[0]) from error
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error
    return node


def _unsuitable(root: yaml.Node) -> YamlError:
    """Which value it is."""
    import yaml

    for scalar in _scalars(root):
        try:
            yaml.constructor.SafeConstructor().construct_document(scalar)
        except _UNSUITABLE:
            kind = scalar.tag.rpartition(":")[2]
            return YamlError(f"{reprlib.repr(scalar.value)} cannot be read as a value of type {kind}", line_of(scalar))
    return YamlError("a value cannot be read", line_of(root))


def _scalars(root: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Each once, though a document may hold itself."""
    import yaml

    left, seen = [root], set[int]()
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.MappingNode):
            left += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            left += reversed(node.value)


def line_of(node: yaml.Node) -> int:
    """Lines count from 1."""
    return int(node.start_mark.line) + 1


def _damage(error: yaml.MarkedYAMLError) -> YamlError:
    return YamlError(error.problem or "it is not YAML", error.problem_mark.line + 1 if error.problem_mark else None)
