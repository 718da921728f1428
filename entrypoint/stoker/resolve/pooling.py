"""What the files of sentence-transformers say of an embedding model: modules.json, and the configs that it points at.

Their form is that of sentence_transformers/models/{Transformer,Pooling,Normalize}.py and SentenceTransformer.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.resolve.facts import Config, architecture_name, number, with_defaults
from stoker.resolve.json_files import read_optional_json, read_optional_list
from stoker.resolve.model import Pooling
from stoker.resolve.numbers import bad_value

MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
LENGTHS = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json")
POOLING = "1_Pooling/config.json"
POOLING_FILES = (MODULES, POOLING, PROMPTS, *LENGTHS)

_CLASSIFIER = "ForSequenceClassification"
_GAPS = "ForMaskedLM"
# What the names of encoders begin with, by whether they count positions from the padding id on
# (transformers' create_position_ids_from_input_ids). A bare decoder, `LlamaModel`, is none of them.
_ENCODERS: Mapping[str, bool] = {
    **dict.fromkeys(("Bert", "DistilBert", "Albert", "Electra", "ModernBert", "NomicBert", "DebertaV2"), False),
    **dict.fromkeys(("Roberta", "XLMRoberta", "Camembert", "MPNet"), True),
}
_ENDINGS = ("Model", _GAPS, _CLASSIFIER)
_PADDING = 1  # transformers' default for those that count from it
_METHODS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_NAMES: Mapping[str, str] = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
_TOKENIZER = "tokenizer_config.json"
_ABSURD_LENGTH = 1 << 30  # what tokenizers say that know no limit


def pooling_facts(directory: Path, config: Config) -> Pooling | None:
    """None for a model that generates text. Raises UnsupportedModelError for a way of pooling that is not implemented,
    naming the key, and DamagedModelError for a file that is not what it should be."""
    name = architecture_name(config)
    if name.endswith(_CLASSIFIER):
        return Pooling("score", False, _max_length(directory, config), source="config.json")
    modules = read_optional_list(directory / MODULES)
    if modules is None:
        return _plain_encoder(directory, config) if _family(name) else None
    return _described(directory, config, modules)


def _family(name: str) -> str:
    """The first part of an encoder's name, as "XLMRoberta"; empty for a decoder's."""
    first = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), "")
    return first if first in _ENCODERS else ""


def _plain_encoder(directory: Path, config: Config) -> Pooling:
    """As sentence-transformers treats a model without files of its own."""
    name = architecture_name(config)
    if name.endswith(_GAPS):
        raise _unsupported("config.json", f"{name} without {MODULES} fills gaps in texts")
    return Pooling("mean", False, _max_length(directory, config), source="default of sentence-transformers")


def _described(directory: Path, config: Config, modules: list[dict[str, object]]) -> Pooling:
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _unsupported(MODULES, f"its modules are {', '.join(kinds)}, not Transformer, Pooling and maybe Normalize")
    if f"{modules[1].get('path')}/config.json" != POOLING:
        raise _unsupported(MODULES, f"its Pooling lies in {modules[1].get('path')!r}, not in 1_Pooling")
    said = read_optional_json(directory / PROMPTS) or {}
    prompts = said.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise DamagedModelError(f"{PROMPTS} is damaged", why="its prompts are not texts by name")
    return Pooling(
        method=_method(read_optional_json(directory / POOLING)),
        normalized=len(kinds) > 2,
        max_length=_max_length(directory, config),
        prompts=prompts,
        default_prompt=_default_prompt(said, prompts),
        source=f"{MODULES} and {POOLING}",
    )


def _default_prompt(said: Mapping[str, object], prompts: Mapping[str, str]) -> str:
    name = said.get("default_prompt_name")
    if name is None:
        return ""
    if not isinstance(name, str) or name not in prompts:
        raise bad_value(PROMPTS, "default_prompt_name", name, "it must be the name of one of its prompts")
    return name


def _method(settings: Mapping[str, object] | None) -> str:
    if settings is None:
        raise DamagedModelError(f"{POOLING} is missing", why=f"{MODULES} names it", remedy="copy it too")
    if settings.get("include_prompt") is False:
        raise _unsupported(POOLING, "include_prompt is false: prompts would have to be left out of the pooling")
    named = settings.get("pooling_mode")
    modes = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    method = _NAMES.get(str(named)) if named else _METHODS.get(modes[0]) if len(modes) == 1 else None
    if method is None:
        raise _unsupported(POOLING, f"it pools by {named or ' and '.join(modes) or 'nothing'}, and not by {_known()}")
    return method


def _known() -> str:
    return f"one of {', '.join(_METHODS)}"


def _max_length(directory: Path, config: Config) -> int:
    """In tokens: the shortest of what the positions, the tokenizer and sentence-transformers' own config allow."""
    said = next(filter(None, (read_optional_json(directory / name) for name in LENGTHS)), {})
    if said.get("do_lower_case"):
        raise _unsupported(LENGTHS[0], "do_lower_case is true, and texts are not lowered before the tokenizer does it")
    tokenizer = read_optional_json(directory / _TOKENIZER) or {}
    stated = (_length(said, "max_seq_length", LENGTHS[0]), _length(tokenizer, "model_max_length", _TOKENIZER))
    return min(_positions(config), *stated)


def _length(settings: Mapping[str, object], key: str, file: str) -> int:
    """In tokens; beyond any text where the key is absent, or has the number of tokenizers that know no limit, which may
    be written as a float."""
    value = settings.get(key)
    if value is None:
        return _ABSURD_LENGTH
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 1:
        raise bad_value(file, key, value, "it must be a number of tokens")
    return int(min(value, _ABSURD_LENGTH))


def _positions(config: Config) -> int:
    """In tokens; those that count positions from the padding id on lose the ones before it."""
    positions = number(with_defaults(config), "max_position_embeddings")
    if not _ENCODERS.get(_family(architecture_name(config)), False):
        return positions
    padding = config.get("pad_token_id", _PADDING)
    if type(padding) is not int or not 0 <= padding < positions - 1:
        raise DamagedModelError("config.json: pad_token_id must be a token id", why=f"it is {padding!r}")
    return positions - padding - 1


def _unsupported(file: str, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"this embedding model cannot be served: {file}", why=why, remedy="use another model")
