"""LoRA adapters while an engine runs: which are in the graph, and how others get into it.

The graph (build/adapters.py) is opened with a file of all adapters' matrices, since OpenVINO's kernels arrange
constants for themselves when they are compiled. So a new adapter waits until no sequence runs, and what comes after it
waits with it; then the graph is opened anew. To take one out costs nothing: its place is given to the next.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from pathlib import Path

import openvino_genai

from stoker.json_text import parse_json
from stoker.kinds.openvino.files import TARGETS
from stoker.kinds.openvino.runtime.adapter_file import GraphTargets, Matrices, read_adapter, write_file
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output, RunningSequence
from stoker.launch.stub.waiting import Begin, WaitingSequence


@dataclass
class Placed:
    """An adapter in the graph; `place` is its number there, from 1 on. `live`: sequences that use it."""

    place: int
    matrices: Matrices
    live: int = 0


class AdaptedSequence(WaitingSequence):
    """It waits for its adapter, or for those before it."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation)
        self.placed: Placed | None = None
        self.over = False

    def use(self, placed: Placed) -> None:
        self.placed = placed
        placed.live += 1

    def begin(self, begin: Begin) -> None:
        super().begin(begin)
        if self.refused:
            self._leave()

    def note(self, output: Output) -> None:
        if output.over:
            self._leave()

    def cancel(self) -> None:
        super().cancel()
        self._leave()

    def _leave(self) -> None:
        if not self.over and self.placed is not None:
            self.placed.live -= 1
        self.over = True


class Adapters:
    """Those of one runtime. `begin` takes what has its adapter in the graph."""

    def __init__(self, settings: EngineSettings, begin: Begin) -> None:
        self._begin = begin
        self._most = settings.chosen.max_loras
        self._targets = _targets(Path(settings.engine_directory))
        self._folder = tempfile.TemporaryDirectory(prefix="adapters", dir=settings.run_directory or None)
        self._placed: OrderedDict[int, Placed] = OrderedDict()  # by the adapters' numbers, last used last
        self._held: deque[AdaptedSequence] = deque()
        self._read: dict[int, Matrices] = {}  # of those that wait
        self._files = 0

    @property
    def waiting(self) -> bool:
        """Whether something is to be done, as soon as no sequence runs: `choose`, and then `release`."""
        return bool(self._held)

    def add(self, generation: Generation) -> RunningSequence:
        """RequestRefusedError for an adapter that this graph cannot take."""
        adapter = generation.adapter
        if adapter is not None and adapter.number not in self._placed:
            self._prepare(adapter)
        sequence = AdaptedSequence(generation)
        if self._held or (adapter is not None and adapter.number not in self._placed):
            self._held.append(sequence)
        else:
            self._start(sequence)
        if sequence.refused:
            raise RequestRefusedError(sequence.refused)
        return sequence

    def _prepare(self, adapter: Adapter) -> None:
        if self._targets is None or not self._most:
            raise RequestRefusedError("the engine takes no adapters", why="it was planned without --max-loras")
        if adapter.number not in self._read:
            self._read[adapter.number] = read_adapter(Path(adapter.directory), self._targets)

    def _start(self, sequence: AdaptedSequence) -> None:
        if (adapter := sequence.generation.adapter) is not None:
            self._placed.move_to_end(adapter.number)
            sequence.use(self._placed[adapter.number])
        sequence.begin(lambda generation: self._begin(self._marked(generation)))

    def _marked(self, generation: Generation) -> Generation:
        """Its first id says which adapter it has."""
        if generation.adapter is None:
            return generation
        assert self._targets is not None
        first, *others = generation.input_ids
        marked = int(first) + self._placed[generation.adapter.number].place * self._targets.vocabulary
        return replace(generation, input_ids=[marked, *map(int, others)])

    def choose(self) -> bool:
        """Gives places to adapters that wait, in their order, as far as others can leave theirs: the least recently
        used ones that no sequence uses. Whether the graph is to be opened anew."""
        needed: set[int] = set()
        changed = False
        for sequence in self._held:
            adapter = sequence.generation.adapter
            if adapter is None or sequence.over:
                continue
            needed.add(adapter.number)
            if adapter.number in self._placed:
                continue
            place = self._free_place(needed)
            if place is None:
                break
            self._placed[adapter.number] = Placed(place, self._read.pop(adapter.number))
            changed = True
        return changed

    def _free_place(self, needed: set[int]) -> int | None:
        if len(self._placed) >= self._most:
            idle = (number for number, placed in self._placed.items() if not placed.live and number not in needed)
            last = next(idle, None)
            if last is None:
                return None
            self._read[last] = self._placed.pop(last).matrices  # some who wait may need it again
        used = {placed.place for placed in self._placed.values()}
        return next(place for place in range(1, self._most + 1) if place not in used)

    def properties(self) -> dict[str, object]:
        """What the graph is opened with."""
        if not self._placed or self._targets is None:
            return {}
        self._files += 1
        path = Path(self._folder.name) / f"{self._files}.safetensors"
        write_file(path, self._targets, {placed.place: placed.matrices for placed in self._placed.values()})
        config = openvino_genai.AdapterConfig(openvino_genai.AdapterConfig.Mode.MODE_STATIC)
        config.add(openvino_genai.Adapter(str(path)))
        path.unlink()  # it is mapped
        return {"adapters": config}

    def release(self) -> bool:
        """Begins what has waited, until one whose adapter found no place; whether anything did."""
        before = len(self._held)
        while self._held:
            adapter = self._held[0].generation.adapter
            if adapter is not None and adapter.number not in self._placed and not self._held[0].over:
                break
            sequence = self._held.popleft()
            if not sequence.over:
                self._start(sequence)
        waiting = {each.generation.adapter.number for each in self._held if each.generation.adapter}
        self._read = {number: matrices for number, matrices in self._read.items() if number in waiting}
        return len(self._held) < before

    def close(self) -> None:
        self._folder.cleanup()


def _targets(directory: Path) -> GraphTargets | None:
    path = directory / TARGETS
    return GraphTargets.of(parse_json(path.read_text())) if path.is_file() else None
