"""A limit on thinking: no engine has one, so that thinking is cut off from outside and the answer asked for anew.

The first generation may be as long as the thinking may. If the model is still thinking then, the closing mark is put
into its mouth; either way a second generation goes on from there, whose prompt the engine has in its cache.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from collections.abc import Sequence as Many
from contextlib import aclosing
from dataclasses import dataclass, replace

from stoker.launch.generation import Delta, EngineClient, Generation
from stoker.serve.answer.parsers.reasoning import Thinking


@dataclass(frozen=True)
class Budget:
    """`begun`: the prompt leaves the model thinking. `closing`: the ids that end the thinking. `decode` shows marks."""

    tokens: int
    marks: Thinking
    begun: bool
    closing: tuple[int, ...]
    decode: Callable[[Many[int]], str]

    def thinking(self, said: Many[int]) -> bool:
        """Whether a model that has said this still thinks."""
        text = self.decode(said)
        begun = self.begun or text.lstrip().startswith(self.marks.opening)
        return begun and self.marks.closing not in text


async def within_budget(engine: EngineClient, generation: Generation, budget: Budget) -> AsyncGenerator[Delta, None]:
    """What one generation without a limit on thinking would give, without the thinking that is cut off."""
    first = replace(generation, max_tokens=min(budget.tokens, generation.max_tokens))
    said: list[int] = []
    async with aclosing(engine.generate(first)) as deltas:
        async for delta in deltas:
            said += delta.ids
            yield delta
    left = generation.max_tokens - len(said)
    if (said and said[-1] in generation.end_ids) or left <= 0:
        return
    if budget.thinking(said):
        closing = budget.closing[:left]
        yield Delta(closing, [0.0] * len(closing) if generation.log_probs else None)
        said += closing
        left -= len(closing)
    if left > 0:
        ids = [*generation.input_ids, *said]
        second = replace(generation, input_ids=ids, max_tokens=left, min_tokens=0, prompt_log_probs=None)
        async with aclosing(engine.generate(second)) as deltas:
            async for delta in deltas:
                yield delta
