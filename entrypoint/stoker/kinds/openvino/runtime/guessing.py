"""Speculative decoding within OpenVINO GenAI's continuous batching: opening the pipeline, and each request's part.

Every token is still the model's own choice: a guess is kept where it is the token that the model chose, so that greedy
text stays what it is, and sampled text is distributed as it was. GenAI's own rule for a draft's guesses at a
temperature compares the draft's probability with that of another token than the one it guessed. It compares the chosen
tokens instead for a request with `max_ngram_size`, which means nothing else in that pipeline.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openvino_genai

from stoker.kinds.openvino.files import GRAPH
from stoker.kinds.openvino.runtime.properties import compile_properties
from stoker.kinds.openvino.runtime.vocabulary import write_encoder
from stoker.kinds.openvino.speculation import DRAFT_FOLDER, NGRAM, as_draft, guesses
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.plan.speculation import EAGLE3, LOOKUP, OFF, WITH_MODEL

_FEWEST_FOR_A_HEAD = 2  # tokens of a prompt


def goes_beside(method: str, generation: Generation) -> bool:
    """Whether a request runs without guesses: GenAI counts tokens wrong after a wrong one. A grammar is GenAI's own."""
    if method == EAGLE3 and generation.guide is None and _is_too_much_for_a_head(generation):
        return True
    return method != OFF and generation.min_tokens > 1 and generation.guide is None


def _is_too_much_for_a_head(generation: Generation) -> bool:
    """GenAI has a head guess only after a prompt's second token, and looks for the tokens that penalties count among
    the head's own, which are fewer."""
    penalties = (generation.presence_penalty, generation.frequency_penalty, generation.repetition_penalty)
    return len(generation.input_ids) < _FEWEST_FOR_A_HEAD or any(each is not None for each in penalties)


def check_goes_with(method: str, generation: Generation) -> None:
    """RequestRefusedError for what GenAI gets wrong with guesses, and nobody else does here."""
    if method != OFF and generation.min_tokens > 1:
        raise _refused("min_tokens with a form of the text")
    if method in WITH_MODEL and generation.guide is not None:  # it would not be taken back with a wrong guess
        raise _refused("guided decoding", " and a draft model")


def _refused(what: str, more: str = "") -> RequestRefusedError:
    why = f"OpenVINO GenAI does not support it together with speculative decoding{more}"
    return RequestRefusedError(f"{what} is not available", why=f"{why}; serve without --speculative")


def let_guess(config: Any, method: str, running: int) -> None:
    """`running` sequences, this one included. GenAI wants both numbers of every request."""
    config.num_assistant_tokens = guesses(running)
    config.max_ngram_size = NGRAM if method == LOOKUP else 1


@contextmanager
def guessing(settings: EngineSettings, scheduler: Any) -> Iterator[dict[str, object]]:
    """What a pipeline is opened with besides its own; a draft's files are needed until it is open."""
    if settings.chosen.speculative == LOOKUP:
        yield {"prompt_lookup": True}
    elif settings.chosen.speculative in WITH_MODEL:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(settings.engine_directory, DRAFT_FOLDER)
            for path in (source / GRAPH, (source / GRAPH).with_suffix(".bin")):
                Path(folder, path.name).symlink_to(path)
            write_encoder(Path(folder))
            properties = compile_properties(settings, as_draft(settings.chosen))
            draft = openvino_genai.draft_model(folder, "CPU", scheduler_config=scheduler, **properties)
            yield {"draft_model": draft}
    else:
        yield {}
