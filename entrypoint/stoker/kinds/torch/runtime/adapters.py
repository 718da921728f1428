"""LoRA adapters for a model of transformers: the sequences of one adapter run together, and adapters take turns.

Transformers' continuous batching gives a forward no word of which sequence a token is of, and shares prefixes by their
ids alone. So a batch has one adapter, which hooks on the model's projections add, and each turn begins with an empty
cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from stoker.errors import ModelError
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output, Runtime
from stoker.launch.stub.waiting import WaitingSequence
from stoker.resolve.json_files import read_json
from stoker.resolve.lora import CONFIG, WEIGHTS, in_layer, part_of, read_lora_config

Pair = tuple[Any, Any]


class Projections:
    """The model's, and the one adapter that they have."""

    def __init__(self, model: Any) -> None:
        self._modules = {in_layer(name): each for name, each in model.named_modules() if hasattr(each, "in_features")}
        self._device, self._dtype = model.device, model.dtype
        self._hooks: list[Any] = []

    def read(self, adapter: Adapter) -> dict[str, Pair]:
        """A and scaled B by module; RequestRefusedError for what the model has no place for."""
        directory = Path(adapter.directory)
        try:
            config = read_lora_config(read_json(directory / CONFIG), directory.name)
            halves: dict[str, dict[str, Any]] = {}
            for name, tensor in load_file(directory / WEIGHTS).items():
                part = part_of(name, directory.name)
                scale = config.scale(part.module) if part.part == "B" else 1
                own = (tensor.float() * scale).to(self._device, self._dtype)
                halves.setdefault(in_layer(part.module), {})[part.part] = own
            pairs = {module: (parts["A"], parts["B"]) for module, parts in halves.items()}
        except (ModelError, OSError, KeyError) as error:
            raise RequestRefusedError("the adapter cannot be read", why=str(error)) from error
        for module, (inner, outer) in pairs.items():
            own = self._modules.get(module)
            if own is None or (own.in_features, own.out_features) != (inner.shape[1], outer.shape[0]):
                raise RequestRefusedError(
                    f"the adapter does not fit {module[:200]}", why="the model has no such module"
                )
        return pairs

    def use(self, pairs: dict[str, Pair]) -> None:
        """Instead of what was used before; nothing for the model as it is."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = [self._modules[module].register_forward_hook(_adding(*pair)) for module, pair in pairs.items()]


def _adding(inner: Any, outer: Any) -> Callable[[Any, tuple[Any, ...], Any], Any]:
    def hook(_: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        return output + (inputs[0] @ inner.T) @ outer.T

    return hook


class TurnSequence(WaitingSequence):
    """It waits for its adapter's turn."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation)
        self.over = False

    @property
    def adapter(self) -> Adapter | None:
        return self.generation.adapter

    def begin(self, runtime: Runtime) -> None:
        try:
            self.running = runtime.add(self.generation)
        except RequestRefusedError as error:
            self.refused, self.over = str(error), True

    def note(self, output: Output) -> None:
        self.over = self.over or output.over

    def cancel(self) -> None:
        if self.running is not None:
            self.running.cancel()
        self.refused, self.over = "it was cancelled", True


class AdapterTurns:
    """A Runtime. `open_runtime` opens one with an empty cache."""

    def __init__(self, projections: Projections, open_runtime: Callable[[], Runtime], most: int) -> None:
        self._projections = projections
        self._open = open_runtime
        self._most = most
        self._runtime = open_runtime()
        self._turn: Adapter | None = None
        self._read: dict[int, dict[str, Pair]] = {}
        self._running: list[TurnSequence] = []
        self._held: deque[TurnSequence] = deque()

    def add(self, generation: Generation) -> TurnSequence:
        """RequestRefusedError for an adapter that does not fit the model, and for what the model does not take."""
        adapter = generation.adapter
        if adapter is not None and adapter.number not in self._read:
            self._read[adapter.number] = self._projections.read(adapter)
        sequence = TurnSequence(generation)
        if self._held or adapter != self._turn:
            self._held.append(sequence)
            return sequence
        self._begin(sequence)
        if sequence.refused:
            raise RequestRefusedError(sequence.refused)
        return sequence

    def _begin(self, sequence: TurnSequence) -> None:
        sequence.begin(self._runtime)
        if not sequence.over:
            self._running.append(sequence)

    def step(self) -> bool | None:
        self._running = [sequence for sequence in self._running if not sequence.over]
        if self._held and not self._running:
            self._next_turn()
        return self._runtime.step()

    def _next_turn(self) -> None:
        """To the adapter that has waited for longest, and to all that wait with it."""
        waiting = [sequence for sequence in self._held if not sequence.over]
        self._held.clear()
        if not waiting:
            return
        turn = waiting[0].adapter
        if turn != self._turn:
            self._runtime.close()
            self._projections.use(self._read[turn.number] if turn else {})
            self._turn, self._runtime = turn, self._open()
        self._held.extend(sequence for sequence in waiting if sequence.adapter != turn)
        for sequence in waiting:
            if sequence.adapter == turn:
                self._begin(sequence)
        self._forget()

    def _forget(self) -> None:
        """Matrices beyond those that there may be, the oldest first, and none that somebody waits for."""
        needed = {sequence.adapter.number for sequence in self._held if sequence.adapter}
        if self._turn is not None:
            needed.add(self._turn.number)
        free = [number for number in self._read if number not in needed]
        for number in free[: max(0, len(self._read) - self._most)]:
            del self._read[number]

    def close(self) -> None:
        self._projections.use({})
        self._runtime.close()
