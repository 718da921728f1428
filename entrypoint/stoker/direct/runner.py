"""`Runner`: a built engine directory as a Python object that generates."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from stoker.direct.messages import add_message
from stoker.direct.process import EngineProcess
from stoker.errors import EngineError, UsageError
from stoker.kinds import kind_named
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.kind import LaunchPart
from stoker.plan.types import TEXT, Chosen, KvPool, chosen_from
from stoker.serve.generate.detokenizing import Detokenizer
from stoker.serve.generate.stops import StopMatcher
from stoker.serve.operate.frontend import load_frontend
from stoker.serve.request.chat_template import TemplateMissingError, TemplateRefusedError
from stoker.serve.request.prompts import unembedded
from stoker.serve.request.template_process import TemplateUnavailableError
from stoker.store.engine import Engine
from stoker.store.manifest import UnusableEngineError, check_sizes, read_manifest

_BLOCK_TOKENS, _SEQUENCES = 32, 4  # where engine.json has no KV pool: its blocks, and the full contexts in it

Prompt = str | Sequence[int] | Sequence[Mapping[str, Any]]
"""A text to continue, token ids, or messages for the model's chat template."""


@dataclass(frozen=True)
class Sampling:
    """As in OpenAI's API, except that the default is greedy: `temperature` 0."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What the prompt at `index` gained. `finish` is "stop" or "length" in its last piece, else empty."""

    index: int
    text: str
    ids: tuple[int, ...]
    finish: str = ""


@dataclass(frozen=True)
class Completion:
    text: str
    ids: tuple[int, ...]
    finish: str


class _Answer:
    """One prompt's text as it comes. The end-of-sequence id is in `ids` and not in the text."""

    def __init__(self, index: int, detokenizer: Detokenizer, generation: Generation, stop: Sequence[str]) -> None:
        self.index = index
        self.generation = generation
        self._detokenizer = detokenizer
        self._stops = StopMatcher(stop)

    def feed(self, ids: Sequence[int], ended: bool) -> Piece:
        at_end = bool(ids) and ids[-1] in self.generation.end_ids
        text = self._detokenizer.feed(ids[:-1] if at_end else ids)
        if ended:
            text += self._detokenizer.flush()
        text, stopped = self._stops.feed(text)
        if ended and not stopped:
            text += self._stops.flush()
        finish = "stop" if stopped or at_end else "length" if ended else ""
        return Piece(self.index, text, tuple(ids), finish)


class Runner:
    """Not for several threads at once. A context manager; `close` ends the engine's process.

    EngineError when the engine cannot start or dies, UsageError for prompts that do not fit.
    """

    def __init__(self, part: LaunchPart, engine: Engine, chosen: Chosen, kv: KvPool, gpus: Sequence[str] = ()) -> None:
        """`part` is that of the engine's kind. `gpus`: UUIDs of the plan's devices, rank by rank; without them an
        engine takes the first that it sees."""
        if chosen.purpose != TEXT:
            raise EngineError(
                f"this engine is for {chosen.purpose}", why="only engines that generate text run directly"
            )
        self._frontend = load_frontend(engine, part.capabilities(TEXT), max_seq_len=chosen.max_seq_len)
        self._numbers = itertools.count()
        self._process = EngineProcess(part.open_child(engine, chosen, kv, gpus))

    @classmethod
    def from_dir(cls, directory: str | Path) -> Runner:
        """The engine that `stoker build` printed. UsageError for a directory that is not one."""
        path = Path(os.path.expanduser(directory))  # noqa: PTH111 (which lets `~` be where there is no home)
        try:
            manifest = read_manifest(path)
            check_sizes(path, manifest)
        except UnusableEngineError as fault:
            raise UsageError(
                f"{path} is not an engine", why=str(fault), remedy="`stoker build MODEL` prints an engine's directory"
            ) from fault
        chosen = chosen_from(manifest.chosen)
        part = kind_named(manifest.kind).launch
        return cls(part, Engine(path, manifest), chosen, _pool(manifest.build, chosen))

    @property
    def has_chat_template(self) -> bool:
        return not isinstance(self._frontend.chat_template, TemplateMissingError)

    @property
    def pid(self) -> int:
        """The engine's process."""
        return self._process.pid

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int = 256, **sampling: Any) -> list[Completion]:
        """One completion a prompt, in order, all batched. `sampling`: the fields of Sampling."""
        texts = [""] * len(prompts)
        ids: list[tuple[int, ...]] = [()] * len(prompts)
        finishes = [""] * len(prompts)
        for piece in self.stream(prompts, max_new_tokens, **sampling):
            texts[piece.index] += piece.text
            ids[piece.index] += piece.ids
            finishes[piece.index] = piece.finish
        return [Completion(*fields) for fields in zip(texts, ids, finishes, strict=True)]

    def stream(
        self, prompts: Sequence[Prompt], max_new_tokens: int = 256, **sampling: Any
    ) -> Generator[Piece, None, None]:
        """The same as pieces, as the engine makes them; those of different prompts take turns. Closing it cancels the
        rest."""
        wanted = Sampling(max_new_tokens, **sampling)
        answers = {
            answer.generation.request_id: answer
            for answer in [self._answer(index, prompt, wanted) for index, prompt in enumerate(prompts)]
        }
        for answer in answers.values():
            self._process.send(add_message(answer.generation))
        try:
            while answers:
                yield from self._next(answers)
        finally:  # also when the caller stops listening
            for request_id in answers:
                self._process.send({"cancel": request_id})

    def close(self) -> None:
        self._process.close()
        self._frontend.tokenizer.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, answers: dict[str, _Answer]) -> Iterator[Piece]:
        message = self._process.receive()
        answer = answers.get(message["id"])
        if answer is None:  # it was given up before this was on its way
            return
        if refused := message.get("refused"):
            raise RequestRefusedError(refused["what"], why=refused["why"], remedy=refused["remedy"])
        if message["out_of_memory"]:
            raise EngineError(
                f"the KV cache is full at prompt {answer.index + 1}", remedy="ask for fewer tokens or prompts at once"
            )
        piece = answer.feed(message["ids"], message["ended"])
        if piece.finish:
            del answers[message["id"]]
            if not message["ended"]:  # a stop string ended it
                self._process.send({"cancel": message["id"]})
        yield piece

    def _answer(self, index: int, prompt: Prompt, wanted: Sampling) -> _Answer:
        ids = self._ids(prompt)
        if fault := unembedded(ids, self._frontend):
            raise UsageError(f"prompt {index + 1} cannot be given to the model", why=fault)
        room = self._frontend.context.length - len(ids)
        if not ids or room < 1:
            why = f"it has {len(ids)} tokens; prompt and answer may have {self._frontend.context.length}"
            raise UsageError(f"prompt {index + 1} is empty or too long", why=why)
        generation = Generation(
            request_id=str(next(self._numbers)),
            input_ids=ids,
            max_tokens=min(wanted.max_new_tokens, room),
            end_ids=self._frontend.context.end_ids,
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            top_k=wanted.top_k,
            seed=None if wanted.seed is None else wanted.seed + index,
        )
        context = ids if isinstance(prompt, str) else ()
        return _Answer(index, Detokenizer(self._frontend.tokenizer, context), generation, wanted.stop)

    def _ids(self, prompt: Prompt) -> list[int]:
        tokenizer = self._frontend.tokenizer
        if isinstance(prompt, str):
            return tokenizer.encode_now(prompt, add_special_tokens=True)
        ids = [entry for entry in prompt if isinstance(entry, int)]
        messages = [entry for entry in prompt if isinstance(entry, Mapping)]
        if messages:
            return tokenizer.encode_now(self._rendered(messages), add_special_tokens=False)
        return ids

    def _rendered(self, messages: list[Mapping[str, Any]]) -> str:
        template = self._frontend.chat_template
        if isinstance(template, TemplateMissingError):
            raise UsageError("the model has no chat template", remedy="give the prompt as a text")
        try:
            return template.render(messages)
        except (TemplateRefusedError, TemplateUnavailableError) as error:
            raise UsageError("the model's chat template refused the messages", why=str(error)) from error


def _pool(build: Mapping[str, Any], chosen: Chosen) -> KvPool:
    """As planned. Engines of earlier versions say at most how many blocks it has."""
    if "kv" in build:
        return KvPool(**build["kv"])
    untold = min(chosen.max_batch_size, _SEQUENCES) * -(-chosen.max_seq_len // _BLOCK_TOKENS)
    return KvPool(build.get("kv_blocks") or untold, _BLOCK_TOKENS, 0)
