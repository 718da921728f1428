"""A checkpoint's directory: which files belong to the model, whether they are sound, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from stoker.errors import DamagedModelError, ModelError, NoSafetensorsError
from stoker.resolve.facts import Config, architecture_facts, quantization_facts
from stoker.resolve.generation_config import check_generation_config, check_token_settings
from stoker.resolve.heads import is_head
from stoker.resolve.json_files import read_json, read_optional_json
from stoker.resolve.model import Architecture, Model, Quantization, Weights
from stoker.resolve.parameters import count_parameters
from stoker.resolve.pooling import POOLING_FILES, pooling_facts
from stoker.resolve.rope import rope_settings
from stoker.resolve.safetensors_header import Header, read_header
from stoker.resolve.weights import (
    check_embedding,
    check_index,
    check_no_duplicates,
    computed_weights,
    indexed_weights,
    measured_weights,
    weight_map,
)

Check = Callable[[Config], None]
"""Raises a ModelError for the config.json of a model that whoever resolves it has no use for."""

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
HF_QUANT_CONFIG = "hf_quant_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
NAMED_TEMPLATES = "additional_chat_templates"
_NAMED_TEMPLATE = re.compile(NAMED_TEMPLATES + r"/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.jinja")

# What planning reads, and what serving needs besides.
PLANNING_FILES = (CONFIG, HF_QUANT_CONFIG, INDEX, TOKENIZER_CONFIG, *TEMPLATES, *POOLING_FILES)
SMALL_FILES = (
    *PLANNING_FILES,
    "generation_config.json",
    "quantize_config.json",
    TOKENIZER,
    "special_tokens_map.json",
    "added_tokens.json",
)

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = (ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
_NOT_THE_MODEL = ("adapter", "consolidated")  # LoRA weights, and Mistral's own copy of the same weights
_OTHER_FORMATS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack", ".npz")
_CONVERT_TOKENIZER = (
    "in a copy of the model, make one with transformers: "
    "AutoTokenizer.from_pretrained({0!r}).save_pretrained(the copy's directory)"
)


def file_names(directory: Path) -> frozenset[str]:
    """What of the directory may belong to a model, a link without its file left out."""
    top = {path.name for path in directory.iterdir() if path.is_file()}
    below = {name for name in SMALL_FILES if "/" in name and (directory / name).is_file()}
    named = {f"{path.parent.name}/{path.name}" for path in (directory / NAMED_TEMPLATES).glob("*.jinja")}
    return frozenset(top | below | {name for name in named if is_small(name) and (directory / name).is_file()})


def is_small(name: str) -> bool:
    """Whether planning or serving needs the file."""
    return name in SMALL_FILES or bool(_NAMED_TEMPLATE.fullmatch(name))


def small_files(names: Iterable[str]) -> list[str]:
    return sorted(filter(is_small, names))


def weight_files(names: Iterable[str], index: Config | None) -> tuple[str, ...]:
    """The safetensors files among `names` that make up the model: those of the index, or all of the top folder.

    An index none of whose files is there gives way to model.safetensors: merging shards leaves the index behind.
    """
    present = {name for name in names if _is_weight_file(name)}
    if index is None:
        return tuple(sorted(present))
    wanted = set(weight_map(index).values())
    if not wanted & present and "model.safetensors" in present:
        return ("model.safetensors",)
    return tuple(sorted(wanted))


def _is_weight_file(name: str) -> bool:
    return name.endswith(".safetensors") and "/" not in name and not name.startswith(_NOT_THE_MODEL)


def refuse_other_formats(
    place: str, names: Iterable[str], remedy: str, read: Callable[[str], Mapping[str, object]] | None = None
) -> ModelError:
    """The error for a model without safetensors, naming the files that are there instead. `read` gives a JSON file."""
    names = frozenset(names)
    if names.intersection(ADAPTER):
        return _refuse_adapter(place, read(ADAPTER_CONFIG) if read and ADAPTER_CONFIG in names else {})
    others = sorted(name for name in names if name.endswith(_OTHER_FORMATS))
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    why = f"it holds only {shown}; pickles can run code and other formats are not read" if others else ""
    return NoSafetensorsError(f"{place} has no safetensors weights", why=why, remedy=remedy)


class AdapterGivenError(ModelError):
    """What was named as the model is an adapter. `base`: the model that it is for, empty where it does not say."""

    base = ""


def _refuse_adapter(place: str, config: Mapping[str, object]) -> ModelError:
    """A LoRA changes another model's weights, into which it has to be merged."""
    base, kind = str(config.get("base_model_name_or_path") or "another model"), config.get("peft_type", "LORA")
    merge = (
        f"from peft import AutoPeftModelForCausalLM as P; from transformers import AutoTokenizer as T; "
        f"P.from_pretrained({place!r}).merge_and_unload().save_pretrained('merged'); "
        f"T.from_pretrained({base!r}).save_pretrained('merged')"
    )
    error = AdapterGivenError(
        f"{place} is an adapter, not a model",
        why=f"it holds {kind} changes to the weights of {base}, and not these weights",
        remedy=f"merge it where peft and transformers are installed, and name ./merged: {merge}",
    )
    if kind == "LORA":
        error.base = str(config.get("base_model_name_or_path") or "")
    return error


def accept_any(_: Config) -> None:
    """A Check that refuses nothing."""


def read_config(directory: Path, check: Check) -> dict[str, object]:
    """config.json, once `check` has not refused it."""
    config = read_json(directory / CONFIG)
    check(config)
    return config


def check_words(directory: Path, config: Config, names: Iterable[str], place: str) -> None:
    """What `check_tokenizer` raises, except for a head that guesses tokens: it uses its model's tokenizer."""
    if not is_head(config):
        check_tokenizer(directory, names, place)


def check_tokenizer(directory: Path, names: Iterable[str], place: str) -> None:
    """Raises ModelError where tokenizer.json is not among `names`, DamagedModelError where it is not JSON."""
    present = set(names)
    if TOKENIZER in present:
        check_vocabulary(read_json(directory / TOKENIZER, strict=False), str(directory / TOKENIZER))
        return
    if "tokenizer.model" in present:
        why, remedy = "tokenizer.model, SentencePiece's own format, is not read", _CONVERT_TOKENIZER.format(place)
    else:
        why, remedy = (
            "no text can be made into tokens without it",
            "copy it from the model's repository",
        )
    raise ModelError(f"{place} has no {TOKENIZER}", why=why, remedy=remedy)


def check_vocabulary(tokenizer: Mapping[str, object], path: str) -> None:
    """Raises DamagedModelError for a tokenizer.json without a vocabulary, before anything is built."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens") or []
    if not isinstance(model, Mapping) or not isinstance(model.get("vocab"), Mapping | list):
        raise DamagedModelError(f"{path} is damaged", why="its model has no vocab", remedy="fetch or copy it again")
    if not isinstance(added, list) or not all(map(_is_added_token, added)):
        raise DamagedModelError(f"{path} is damaged", why="its added_tokens are not tokens with ids")


def _is_added_token(entry: object) -> bool:
    return isinstance(entry, Mapping) and type(entry.get("id")) is int and isinstance(entry.get("content"), str)


def has_chat_template(directory: Path) -> bool:
    if any((directory / name).is_file() for name in TEMPLATES) or any((directory / NAMED_TEMPLATES).glob("*.jinja")):
        return True
    settings = read_optional_json(directory / TOKENIZER_CONFIG) or {}
    return bool(settings.get("chat_template"))


def check_missing(place: str, files: Iterable[str], names: Iterable[str]) -> None:
    """Raises DamagedModelError where a file that the index names is not among `names`."""
    missing = sorted(set(files).difference(names))
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise DamagedModelError(
            f"{place} is incomplete", why=f"{INDEX} names {shown}, not there", remedy="fetch or copy what is missing"
        )


def read_headers(directory: Path, files: Iterable[str], index: Config | None) -> dict[str, Header]:
    """Every file's header; raises DamagedModelError for a file that is truncated or not what the index says."""
    headers = {name: read_header(directory / name) for name in files}
    check_no_duplicates(headers)
    if index is not None and set(headers) == set(weight_map(index).values()):
        check_index(index, headers)
    return headers


def describe(
    directory: Path, config: Config, reference: str, served_name: str, headers: Mapping[str, Header] | None
) -> Model:
    """The facts of the checkpoint in `directory`, with weights measured in `headers` if given, else without files.

    The result has neither revision nor directory: the caller knows them.
    """
    check_token_settings(config, CONFIG)
    check_generation_config(directory)
    rope_settings(config)
    architecture, pooling = architecture_facts(config), pooling_facts(directory, config)
    if pooling is not None:  # no output matrix is used, whatever the config says of one
        architecture = replace(architecture, tied_embeddings=True)
    check_embedding(headers or {}, architecture)
    quantization = quantization_facts(config, read_optional_json(directory / HF_QUANT_CONFIG))
    return Model(
        reference=reference,
        served_name=served_name,
        revision="",
        architecture=architecture,
        weights=_weights(directory, config, architecture, quantization, headers),
        config=config,
        quantization=quantization,
        chat_template=has_chat_template(directory),
        pooling=pooling,
    )


def _weights(
    directory: Path,
    config: Config,
    architecture: Architecture,
    quantization: Quantization | None,
    headers: Mapping[str, Header] | None,
) -> Weights:
    if headers:
        return measured_weights(headers, count_parameters(config, architecture).total if quantization else None)
    index = read_optional_json(directory / INDEX)
    indexed = indexed_weights(index, config, architecture) if index is not None else None
    return indexed or computed_weights(config, architecture, quantization)
