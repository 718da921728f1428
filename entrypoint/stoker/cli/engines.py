"""`stoker engines ...`: what the cache holds, and engines to and from elsewhere."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stoker.cli.arguments import command_parser, parse
from stoker.cli.progress import listener
from stoker.cli.rm import chosen_items, delete
from stoker.cli.tables import counted, disk_size
from stoker.errors import DamagedEngineError, UsageError
from stoker.logs import resolved_format, set_up_logging
from stoker.nearest import nearest
from stoker.redaction import redacted
from stoker.settings.layers import Settings
from stoker.store.engine import Engine
from stoker.store.inventory import inventory
from stoker.store.manifest import UnusableEngineError
from stoker.store.policy import policy_of
from stoker.store.store import Store
from stoker.store.trust import place_of

_DESCRIPTION = """\
What the cache holds, and engines to and from elsewhere.

actions:
  list              what the cache holds
  show KEY          one engine: what it was built from, for what, and its files
  verify [KEY...]   read every byte and compare; exit code 74 where something is damaged
  pull KEY...       fetch engines from the remotes
  push KEY...       give the remotes engines
  rm KEY...         delete engines; one that is in use stays
  prune             delete what `verify` finds unusable, interrupted transfers and what dead processes left; with
                    --cache-limit also engines that are not in use, least recently used first
  export KEY DIR    write an engine into a directory, to serve it from there or to import it elsewhere
  import DIR...     take engines from directories that were exported
"""


def run(arguments: Sequence[str]) -> int:
    parser = command_parser("engines", _DESCRIPTION)
    parser.add_argument("action", choices=tuple(_RUN), metavar="ACTION", help="one of those above")
    parser.add_argument("names", nargs="*", metavar="NAME", help="keys or directories")
    parser.add_argument("--json", action="store_true", help="print one JSON document (list, show)")
    options, settings = parse(parser, arguments)
    set_up_logging(resolved_format("auto"), "info")
    return _RUN[options.action](_Asked(options, settings, Store(settings.cache)))


@dataclass(frozen=True)
class _Asked:
    options: Namespace
    settings: Settings
    store: Store


def _list(asked: _Asked) -> int:
    rows = [_row(key, entry) for key, entry in asked.store.list()]
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if asked.options.json else _table(rows))
    return 0


def _row(key: str, entry: Engine | UnusableEngineError) -> dict[str, Any]:
    if isinstance(entry, UnusableEngineError):
        return {"key": key, "model": "", "engine": "", "precision": "", "bytes": 0, "fault": str(entry)}
    manifest = entry.manifest
    return {
        "key": key,
        "model": manifest.served_name,
        "engine": manifest.kind,
        "precision": manifest.chosen["precision"],
        "bytes": sum(file.size for file in manifest.files),
        "fault": "",
    }


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no engines yet; `stoker build MODEL` makes one\n"
    width = max(len(row["key"]) for row in rows)
    return "".join(f"{row['key']:<{width}}  {_size(row)}\n" for row in rows)


def _size(row: dict[str, Any]) -> str:
    return f"cannot be used: {row['fault']}" if row["fault"] else f"{row['bytes'] / 1e6:,.1f} MB"


def _show(asked: _Asked) -> int:
    for engine in _engines(asked.store, asked.options.names):
        document = {**asdict(engine.manifest), "from": place_of(engine)}
        del document["model"]
        text = json.dumps(document, indent=2, sort_keys=True) if asked.options.json else _described(engine)
        sys.stdout.write(f"{text}\n")
    return 0


def _described(engine: Engine) -> str:
    manifest = engine.manifest
    model = f"{manifest.served_name} at {manifest.revision}"
    pairs = {"key": manifest.key, "model": model, "from": place_of(engine)}
    pairs |= {name: json.dumps(value, sort_keys=True) for name, value in manifest.inputs.items() if name != "model"}
    lines = [f"{name:<12} {value}" for name, value in pairs.items()]
    return "\n".join([*lines, *(f"{file.size:>15,}  {file.path}" for file in manifest.files)])


def _verify(asked: _Asked) -> int:
    from stoker.store.integrity import fault_of

    policy, keys = policy_of(asked.settings), asked.options.names or [key for key, _ in asked.store.list()]
    faults = {key: fault_of(asked.store, _known(asked.store, key), policy) for key in keys}
    for key, fault in faults.items():
        sys.stdout.write(f"{key}  {fault or 'whole'}\n")
    damaged = [key for key, fault in faults.items() if fault]
    if damaged:
        raise DamagedEngineError(
            f"{len(damaged)} of {len(faults)} engines cannot be used",
            why=f"{damaged[0]}: {faults[damaged[0]]}",
            remedy="the next start fetches or builds them again; `stoker engines prune` deletes them",
        )
    return 0


def _pull(asked: _Asked) -> int:
    from stoker.store.obtain import pull

    policy, progress = policy_of(asked.settings), listener("text")
    _needs_remotes(asked.settings)
    for key in _given(asked.options.names):
        sys.stdout.write(f"{pull(asked.store, key, policy, progress).directory}\n")
    return 0


def _push(asked: _Asked) -> int:
    from stoker.store.remotes.fetch import push
    from stoker.store.remotes.remote import RemoteError

    policy, progress = policy_of(asked.settings), listener("text")
    _needs_remotes(asked.settings)
    for engine in _engines(asked.store, _given(asked.options.names)):
        for address in policy.remotes:
            try:
                push(engine, address, policy, progress)
            except (RemoteError, UnusableEngineError) as error:
                raise _unreachable(address, error) from error
            sys.stdout.write(f"{engine.manifest.key}  {redacted(address)}\n")
    return 0


def _unreachable(address: str, error: Exception) -> Exception:
    from stoker.errors import RemoteUnusableError

    return RemoteUnusableError(
        f"{redacted(address)} does not take the engine", why=redacted(error), remedy="check it and try again"
    )


def _rm(asked: _Asked) -> int:
    known = [item for item in inventory(asked.store) if item.key]
    for item in chosen_items(known, [_known(asked.store, key) for key in _given(asked.options.names)]):
        delete(asked.store, item)
        sys.stdout.write(f"{item.key}  {disk_size(item.bytes)}\n")
    return 0


def _prune(asked: _Asked) -> int:
    from stoker.store.eviction import clear_remains, discard_unusable, evict
    from stoker.store.integrity import fault_of

    policy = policy_of(asked.settings)
    freed, gone = clear_remains(asked.store), []
    for each, fault in discard_unusable(asked.store, lambda key: fault_of(asked.store, key, policy)):
        sys.stdout.write(f"{each.key}  {disk_size(each.bytes)}  {fault}\n")
        gone.append(each)
    for each in [] if policy.limit is None else evict(asked.store, policy.limit):
        sys.stdout.write(f"{each.key}  {disk_size(each.bytes)}\n")
        gone.append(each)
    total = freed + sum(each.bytes for each in gone)
    sys.stdout.write(f"{counted(len(gone), 'engine')} deleted, {disk_size(total)} freed\n")
    return 0


def _export(asked: _Asked) -> int:
    from stoker.store.transport import export_engine

    if len(asked.options.names) != 2:
        raise UsageError("export needs a key and a directory", remedy="stoker engines export KEY DIR")
    (engine,) = _engines(asked.store, asked.options.names[:1])
    sys.stdout.write(f"{export_engine(engine, Path(asked.options.names[1]), policy_of(asked.settings))}\n")
    return 0


def _import(asked: _Asked) -> int:
    from stoker.store.transport import import_engine

    for name in _given(asked.options.names):
        engine = import_engine(asked.store, Path(name), policy_of(asked.settings), listener("text"))
        sys.stdout.write(f"{engine.directory}\n")
    return 0


def _given(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise UsageError("this needs a name", remedy="`stoker engines list` shows the keys")
    return names


def _needs_remotes(settings: Settings) -> None:
    if not policy_of(settings).remotes:
        raise UsageError("no remote is given", remedy="name one with --remotes URL")


def _engines(store: Store, keys: Sequence[str]) -> list[Engine]:
    """DamagedEngineError for one that cannot be used."""
    found = []
    for key in _given(keys):
        try:
            engine = store.find(_known(store, key))
        except UnusableEngineError as fault:
            raise DamagedEngineError(f"the engine {key} cannot be used", why=str(fault)) from fault
        if engine is not None:
            found.append(engine)
    return found


def _known(store: Store, key: str) -> str:
    keys = [known for known, _ in store.list()]
    if key in keys:
        return key
    guess = nearest(key, keys)
    remedy = f"did you mean {guess}?" if guess else "`stoker engines list` shows the keys"
    raise UsageError(f"there is no engine {key} in {store.cache}", remedy=remedy)


_RUN: dict[str, Callable[[_Asked], int]] = {
    "list": _list,
    "show": _show,
    "verify": _verify,
    "pull": _pull,
    "push": _push,
    "rm": _rm,
    "prune": _prune,
    "export": _export,
    "import": _import,
}
