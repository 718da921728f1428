"""The YAML file of settings: one mapping of names to plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import UsageError
from stoker.nearest import nearest
from stoker.settings.setting import Setting
from stoker.settings.spec import BY_NAME, SETTINGS, canonical
from stoker.yaml_text import YamlError, compose_yaml, line_of

if TYPE_CHECKING:
    import yaml

_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Entry:
    """A value as it is written. `where` names file, line and key for errors, `detail` file and key for people."""

    setting: Setting
    text: str
    where: str
    detail: str


def read_file(path: Path) -> tuple[Entry, ...]:
    """The settings of the file at `path`. UsageError for what cannot be read or understood, with file and line.

    Values are read as they are written, so that `served-model-name: 1.10` keeps its zero. A key without a value
    counts as unset.
    """
    root = _compose(path)
    if root is None:
        return ()
    entries: dict[str, Entry] = {}
    for key, value in _pairs(root, path):
        entry = _entry(key, value, path)
        if entry.setting.name in entries:
            raise UsageError(f"{entry.where} is set twice", remedy="keep one of them")
        entries[entry.setting.name] = entry
    return tuple(entry for entry in entries.values() if entry.text)


def _compose(path: Path) -> yaml.Node | None:
    try:
        return compose_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {path}", why="not UTF-8 text") from None
    except YamlError as error:
        raise UsageError(f"{path}{error.place}", why=f"not YAML: {error.problem}") from None


def _pairs(root: yaml.Node, path: Path) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    import yaml

    if isinstance(root, yaml.ScalarNode) and root.tag == _NULL:
        return
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}, line {line_of(root)}", why="not a mapping", remedy="write one `name: value` a line")
    yield from root.value


def _entry(key: yaml.Node, value: yaml.Node, path: Path) -> Entry:
    import yaml

    name = canonical(str(key.value))
    setting = BY_NAME.get(name)
    if setting is None or not setting.in_file:
        raise _unknown(str(key.value), f"{path}, line {line_of(key)}", known=setting is not None)
    where = f"{path}, line {line_of(key)}: {key.value}"
    if not isinstance(value, yaml.ScalarNode):
        raise UsageError(where, why="not a single value")
    text = "" if value.tag == _NULL else value.value
    return Entry(setting, text, where, f"{path.name}: {name}")


def _unknown(key: str, where: str, *, known: bool) -> UsageError:
    if known:
        return UsageError(f"{where}: {key}", why="cannot be set in the file itself", remedy=f"use --{canonical(key)}")
    guess = nearest(canonical(key), [setting.name for setting in SETTINGS if setting.in_file])
    return UsageError(f"{where}: unknown setting {key}", remedy=f"did you mean {guess}?" if guess else "")
