"""EAGLE-3 heads: checkpoints of one layer that guess a model's next tokens from what the model computed."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.errors import UsageError
from stoker.resolve.facts import Config, text_config
from stoker.resolve.model import Model
from stoker.resolve.numbers import CONFIG_FILE, bad_value, whole
from stoker.resolve.safetensors_header import read_header

MAP = "d2t"
"""The tensor that says what to add to a token of the head to have the model's."""

_LIST = "eagle_aux_hidden_state_layer_ids"


def is_head(config: Config) -> bool:
    """By the name of its architecture: LlamaForCausalLMEagle3, Eagle3LlamaForCausalLM, Eagle3Speculator... The first
    published heads call themselves LlamaForCausalLM; a vocabulary of their own gives them away."""
    names = config.get("architectures")
    named = isinstance(names, list) and bool(names) and "eagle3" in str(names[0]).lower()
    return named or bool(config.get("draft_vocab_size"))


def head_vocabulary(config: Config) -> int:
    """How many tokens it can guess."""
    return whole(config, "draft_vocab_size", whole(text_config(config), "vocab_size"))


def seen_width(config: Config) -> int:
    """The hidden size of the model that it was made for."""
    return whole(config, "target_hidden_size", whole(text_config(config), "hidden_size"))


def seen_layers(config: Config, layers: int) -> tuple[int, ...]:
    """Whose hidden states it sees: those that go into these layers of a model with `layers` of them.

    EAGLE's own are an early one, the middle, and a late one. Raises DamagedModelError for a list that makes no sense.
    """
    nested = config.get("eagle_config")
    places = (config, nested if isinstance(nested, Mapping) else {})
    found = next((place[_LIST] for place in places if place.get(_LIST)), None)
    if found is None:
        return (2, layers // 2, layers - 3)
    if not isinstance(found, list) or not all(type(each) is int and 0 < each <= layers for each in found):
        raise bad_value(CONFIG_FILE, _LIST, found, f"it must be a list of layers up to {layers}")
    return tuple(found)


def check_head(model: Model, head: Model) -> None:
    """UsageError for what cannot guess the model's tokens: by config.json alone."""
    own, other, config = model.architecture, head.architecture, head.config
    if not is_head(config):
        why = f"it is a model ({other.name}), not an EAGLE-3 head"
        raise _wrong(model, head, why, f", or --speculative draft={head.reference}")
    pairs = (
        ("hidden size of", seen_width(config), own.hidden_size),
        ("vocabulary of", other.vocabulary_size, own.vocabulary_size),
    )
    for what, made_for, found in pairs:
        if made_for != found:
            why = f"it was made for a {what} {made_for:,}, {model.served_name} has {found:,}"
            raise _wrong(model, head, why)
    if head_vocabulary(config) > own.vocabulary_size:
        raise _wrong(model, head, f"it guesses among {head_vocabulary(config):,} tokens")
    seen_layers(config, own.layers)


def check_no_head(model: Model, instead: str = "use ") -> None:
    """UsageError for a head in the place of a model, with what to do `instead`."""
    if is_head(model.config):
        raise UsageError(
            f"{model.served_name} is an EAGLE-3 head, not a model",
            why="it guesses tokens of the model that it was trained for",
            remedy=f"{instead}--speculative eagle3={model.reference}",
        )


def check_head_tensors(model: Model, head: Model) -> None:
    """UsageError where its tensors contradict its config.json."""
    assert head.directory is not None
    headers = [read_header(head.directory / file) for file in head.weights.files]
    shapes = {name: tuple(tensor.shape) for header in headers for name, tensor in header.tensors.items()}
    for name, shape in _expected(model, head).items():
        found = shapes.get(name)
        if found != shape:
            why = f"is {list(found)}" if found else "is missing"
            raise _wrong(model, head, f"its tensor {name} {why}, and config.json means {list(shape)}")


def _expected(model: Model, head: Model) -> Mapping[str, tuple[int, ...]]:
    """Shapes by name. A head that guesses all of the model's tokens may use its output matrix."""
    guessed, width = head_vocabulary(head.config), head.architecture.hidden_size
    seen = len(seen_layers(head.config, model.architecture.layers)) * seen_width(head.config)
    if guessed == model.architecture.vocabulary_size:
        return {"fc.weight": (width, seen)}
    return {"fc.weight": (width, seen), "lm_head.weight": (guessed, width), MAP: (guessed,)}


def _wrong(model: Model, head: Model, why: str, instead: str = "") -> UsageError:
    what = f"{head.served_name} cannot guess tokens of {model.served_name}"
    return UsageError(what, why=why, remedy=f"name an EAGLE-3 head that was trained for {model.served_name}{instead}")
