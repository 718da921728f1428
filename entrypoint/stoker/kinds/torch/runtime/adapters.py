"""LoRA adapters for a model of transformers: the sequences of one adapter run together, and adapters take turns.

Transformers' continuous batching does not tell a forward which sequence a token belongs to, and shares prefixes by
their ids alone. So a batch has one adapter, which hooks on the model's projections add, and no prefixes are shared
(paged.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from stoker.errors import ModelError
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from stoker.launch.stub.runtime import Output, Runtime
from stoker.launch.stub.waiting import Begin, WaitingSequence
from stoker.resolve.adapter_matrices import Matrix, read_matrices
from stoker.resolve.lora import in_layer

Pair = tuple[Any, Any]


class Projections:
    """The model's, and the one adapter that they have. The hooks stay: the manager's thread may be amid a step for
    sequences that were cancelled."""

    def __init__(self, model: Any) -> None:
        self._modules = {in_layer(name): each for name, each in model.named_modules() if hasattr(each, "in_features")}
        self._device, self._dtype = model.device, model.dtype
        self._used: Mapping[str, Pair] = {}
        self._hooks = [each.register_forward_hook(self._adding(name)) for name, each in self._modules.items()]

    def read(self, adapter: Adapter) -> dict[str, Pair]:
        """A and scaled B by module; RequestRefusedError for what the model has no place for."""
        try:
            matrices = read_matrices(Path(adapter.directory))
        except (ModelError, OSError) as error:
            raise RequestRefusedError("the adapter cannot be read", why=str(error)) from error
        pairs = {in_layer(module): self._placed(module, pair) for module, pair in matrices.items()}
        for module, (inner, outer) in pairs.items():
            self._check(module, (outer.shape[0], inner.shape[1]))
        return pairs

    def _placed(self, module: str, pair: tuple[Matrix, Matrix]) -> Pair:
        inner, outer = (torch.from_numpy(half).to(self._device, self._dtype) for half in pair)
        if not (inner.isfinite().all() and outer.isfinite().all()):
            raise RequestRefusedError(f"the adapter is too large for {self._dtype}", why=f"in {module[:200]}")
        return inner, outer

    def _check(self, module: str, shape: tuple[int, int]) -> None:
        """`shape`: outputs and inputs of what the adapter is for."""
        own = self._modules.get(module)
        if own is None:
            raise RequestRefusedError(f"the adapter does not fit {module[:200]}", why="the model has no such module")
        if (own.out_features, own.in_features) != shape:
            why = f"it is {[own.out_features, own.in_features]} in the model, and {list(shape)} in the adapter"
            raise RequestRefusedError(f"the adapter does not fit {module[:200]}", why=why)

    def use(self, pairs: Mapping[str, Pair]) -> None:
        """Instead of what was used before; nothing for the model as it is."""
        self._used = pairs

    def _adding(self, module: str) -> Callable[[Any, tuple[Any, ...], Any], Any]:
        def hook(_: Any, inputs: tuple[Any, ...], output: Any) -> Any:
            if (pair := self._used.get(module)) is None:
                return None
            inner, outer = pair
            return output + (inputs[0] @ inner.T) @ outer.T

        return hook

    def release(self) -> None:
        for hook in self._hooks:
            hook.remove()


class TurnSequence(WaitingSequence):
    """It waits for its adapter's turn."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation)
        self.over = False

    @property
    def adapter(self) -> Adapter | None:
        return self.generation.adapter

    def begin(self, begin: Begin) -> None:
        super().begin(begin)
        self.over = bool(self.refused)

    def note(self, output: Output) -> None:
        self.over = self.over or output.over

    def cancel(self) -> None:
        super().cancel()
        self.over = True


class AdapterTurns:
    """A Runtime over `runtime`, which must share no prefixes. An adapter's turn ends when its running sequences do:
    from the moment that another waits, its own new ones wait behind that."""

    def __init__(self, projections: Projections, runtime: Runtime, most: int) -> None:
        self._projections = projections
        self._most = most
        self._runtime = runtime
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
        sequence.begin(self._runtime.add)
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
        self._projections.use(self._read[turn.number] if turn else {})
        self._turn = turn
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
        self._runtime.close()
        self._projections.release()
