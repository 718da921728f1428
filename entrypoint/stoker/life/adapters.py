"""Adapters on their way into the running server: those that the settings name, those of a watched folder, and those
that operators load."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from stoker.errors import (
    EngineError,
    ModelError,
    ModelNotFoundError,
    StokerError,
    StorageError,
    UnsupportedModelError,
    UsageError,
)
from stoker.launch.generation import Adapter, EngineClient, EngineDiedError, Generation, RequestRefusedError
from stoker.launch.warm_up import unlikely_prompt
from stoker.plan.types import Plan
from stoker.progress import Progress
from stoker.resolve.adapter import Fitting, prune, resolve_adapter
from stoker.resolve.fitting import fitting_of
from stoker.resolve.lora import CONFIG, WEIGHTS
from stoker.resolve.reference import LocalDirectory, parse_reference
from stoker.serve.operate.adapters import AdapterError, Adapters, Served
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings
from stoker.settings.value import NAMES, is_name

_LOG = logging.getLogger("stoker")

# Of an adapter that may be served when it is tried again, though none of its files changes.
_PASSING = (AdapterError, EngineDiedError, EngineError, StorageError)

Stamp = tuple[tuple[int, int], ...]


class AdapterLoader:
    """One server's. `begin` with each engine, before it takes requests."""

    def __init__(self, settings: Settings, service: Service, progress: Progress) -> None:
        self._cache = settings.cache
        self._offline = settings.offline
        self._source: Path | None = settings["lora-source"].value
        self._refresh = float(settings["lora-refresh"].value)
        self._service = service
        self._shelf: Adapters = service.adapters
        self._progress = progress
        self._fitting: Fitting | None = None
        self._names: tuple[str, ...] = ()
        self._engine: EngineClient | None = None
        self._turn = asyncio.Lock()
        self._coming: set[str] = set()
        self._unloaded: set[str] = set()
        self._seen: dict[str, Stamp] = {}
        self._told: dict[str, str] = {}
        self._watching: asyncio.Task[None] | None = None

    def check(self, plan: Plan, settings: Settings) -> None:
        """Before an engine is built, which may take long: raises what is wrong with those that the settings name."""
        self._plan(plan, settings)
        for name, path in self._missing(settings).items() if self._shelf.most else ():
            self._check_name(name, replace=False)
            assert self._fitting is not None
            resolve_adapter(path, self._cache, self._progress, self._fitting, offline=self._offline)

    async def begin(self, engine: EngineClient, plan: Plan, settings: Settings) -> None:
        """Loads what the settings name, and what was loaded before; AdapterError says what is wrong with it."""
        await asyncio.to_thread(self._plan, plan, settings)
        self._shelf.loader, self._engine = self, engine
        if not self._shelf.most:
            return
        try:
            missing = self._missing(settings)
            found = [await self._resolved(name, missing[name], replace=False) for name in missing]
            await asyncio.gather(*(self._try(served) for served in (*self._shelf, *found)))
        except (ModelError, StorageError) as error:  # of an adapter, not of the engine
            raise AdapterError("an adapter is not served", why=str(error)) from error
        for served in found:
            self._shelf.put(served)
        await self._look()
        if self._source is not None and self._refresh and self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def _plan(self, plan: Plan, settings: Settings) -> None:
        self._shelf.most = plan.chosen.max_loras
        self._names = settings.served_model_names or (plan.model.served_name,)
        if self._shelf.most:
            self._fitting = fitting_of(plan.model, plan.chosen.max_lora_rank)

    def _missing(self, settings: Settings) -> dict[str, str]:
        """Of those that the settings name, what is neither served nor was unloaded."""
        named = dict(entry.partition("=")[::2] for entry in settings["lora"].value or ())
        return {name: path for name, path in named.items() if name not in self._shelf and name not in self._unloaded}

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def load(self, name: str, path: str, *, replace: bool) -> Served:
        """For operators, whose paths lead into the watched folder only."""
        return await self._load(name, self._confined(path), replace=replace)

    def unload(self, name: str) -> Served:
        served = self._shelf.remove(name)
        self._unloaded.add(name)
        _LOG.info("unloaded the adapter %s", name)
        return served

    def _confined(self, path: str) -> str:
        parsed = parse_reference(path if self._source is None or "/" in path else str(self._source / path))
        if not isinstance(parsed, LocalDirectory):
            return path
        if self._source is None:
            why = "directories are loaded from --lora-source only, and none is set"
            raise UsageError(
                f"{path[:200]} cannot be loaded", why=why, remedy="name org/name, or start with --lora-source"
            )
        home = self._source.resolve()
        if not parsed.path.resolve().is_relative_to(home) or parsed.path.resolve() == home:
            raise UsageError(f"{path[:200]} cannot be loaded", why=f"it is not in --lora-source {self._source}")
        return str(parsed.path.absolute())

    async def _load(self, name: str, path: str, *, replace: bool) -> Served:
        async with self._turn:
            served = await self._resolved(name, path, replace=replace)
            self._coming.add(name)
        try:
            await self._try(served)
            self._shelf.put(served)
        finally:
            self._coming.discard(name)
        facts = served.facts
        _LOG.info("serving the adapter %s: %s at %.12s, rank %d", name, facts.reference, facts.revision, facts.rank)
        return served

    async def _resolved(self, name: str, path: str, *, replace: bool) -> Served:
        self._check_name(name, replace=replace)
        assert self._fitting is not None
        facts = await asyncio.to_thread(
            resolve_adapter, path, self._cache, self._progress, self._fitting, offline=self._offline
        )
        if facts.base and facts.base != self._fitting.model:
            _LOG.warning("the adapter %s names %s as its base model; it is served with %s, whose shapes match",
                         name, facts.base, self._fitting.model)  # fmt: skip
        await asyncio.to_thread(prune, self._cache, {facts.directory, *(each.facts.directory for each in self._shelf)})
        return Served(name, Adapter(self._shelf.next_number(), str(facts.directory)), facts)

    def _check_name(self, name: str, *, replace: bool) -> None:
        if not is_name(name):
            raise AdapterError(f"{name[:200]!r} is not a valid name for an adapter", why=f"names are {NAMES}")
        if name in self._names:
            raise AdapterError(f"{name} is the model's own name", remedy="give the adapter another")
        if name in self._shelf and not replace:
            raise AdapterError(f"the adapter {name} is loaded already", remedy="unload it first, or set load_inplace")
        if name in self._coming:
            raise AdapterError(f"the adapter {name} is being loaded", remedy="wait until it is")
        if name not in self._shelf and len(self._coming.union(each.name for each in self._shelf)) >= self._shelf.most:
            why = f"there may be {self._shelf.most} adapters, and there are"
            raise AdapterError(f"{name} has no place", why=why, remedy="unload one, or start with a larger --max-loras")

    async def _try(self, served: Served) -> None:
        """One token, by which the engine has read the adapter, or says what is wrong with it."""
        assert self._engine is not None
        generation = Generation(f"adapter-{served.adapter.number}", unlikely_prompt(), 1, adapter=served.adapter)
        try:
            async for _ in self._engine.generate(generation):
                pass
        except RequestRefusedError as error:
            raise UnsupportedModelError(
                f"the engine does not take the adapter {served.name}", why=str(error)
            ) from error

    async def _watch(self) -> None:
        """Whatever a look fails with: the next may find more, as of a directory of another machine."""
        while True:
            await asyncio.sleep(self._refresh)
            try:
                await self._look()
            except Exception as error:
                foreseen = isinstance(error, StokerError)
                self._tell_once("", f"--lora-source: {error}", None if foreseen else error)
            else:
                self._told.pop("", None)

    async def _look(self) -> None:
        """Loads and unloads what came to the watched folder, changed there, or left it. One that cannot be loaded is
        told once."""
        if self._source is None:
            return
        present = await asyncio.to_thread(_stamps, self._source)
        for name in [name for name in self._seen if name not in present]:
            del self._seen[name]
            with contextlib.suppress(AdapterError):
                self.unload(name)
        self._told = {about: text for about, text in self._told.items() if about in present or not about}
        changed = [name for name, stamp in present.items() if self._seen.get(name) != stamp]
        self._seen |= {name: present[name] for name in changed}
        await asyncio.gather(*(self._load_found(name, str(self._source / name)) for name in changed))

    async def _load_found(self, name: str, path: str) -> None:
        try:
            await self._load(name, path, replace=True)
        except StokerError as error:
            self._tell_once(name, f"the adapter {name} is not served: {error}")
            if isinstance(error, _PASSING):
                self._seen[name] = ()  # as if it changed
        else:
            self._told.pop(name, None)

    def _tell_once(self, about: str, text: str, error: Exception | None = None) -> None:
        if self._told.get(about) != text:
            self._told[about] = text
            _LOG.error("%s", text, exc_info=error)


def _stamps(source: Path) -> dict[str, Stamp]:
    """By folder, what shows that it changed; those that are still being copied have not both files yet."""
    if not source.is_dir():
        raise ModelNotFoundError(f"there is no directory {source}", why="--lora-source names it")
    try:
        return {folder.name: stamp for folder in sorted(source.iterdir()) if (stamp := _stamp(folder))}
    except OSError as error:
        raise StorageError(f"cannot read {source}", why=str(error), remedy="check --lora-source") from error


def _stamp(folder: Path) -> Stamp:
    """Empty where it has not both files."""
    files = [folder / name for name in (CONFIG, WEIGHTS)]
    with contextlib.suppress(FileNotFoundError):  # it is just leaving
        if all(file.is_file() for file in files):
            stats = [file.stat() for file in files]
            return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
    return ()
