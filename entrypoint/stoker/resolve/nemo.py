"""Checkpoints of NeMo and Megatron: what they are, and which of them TensorRT-LLM's own converter reads.

TensorRT-LLM 1.2 reads a NeMo 1 archive (a .nemo file, a tar) of a GPT with whole weights, one file for each rank. It
does not read distributed weights (a directory model_weights), NeMo 2's directories, or Megatron's: those are to be
exported (examples/models/core/gpt/convert_checkpoint.py, models/gpt/convert.py).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from stoker.errors import DamagedModelError, ModelError, UnsupportedModelError
from stoker.progress import Progress
from stoker.resolve.checkpoint import TOKENIZER, check_tokenizer, has_chat_template, small_files
from stoker.resolve.digests import DIGESTS, DigestCache, directory_revision
from stoker.resolve.json_files import read_json
from stoker.resolve.links import check_links
from stoker.resolve.model import Architecture, Model, Weights
from stoker.resolve.numbers import whole
from stoker.yaml_text import parse_yaml

SUFFIX = ".nemo"
_MAX_CONFIG = 4 << 20  # bytes
ARCHITECTURE, MODEL_TYPE = "GPTForCausalLM", "nemo"
_CONFIG = "model_config.yaml"
_WEIGHTS = ("model_weights.ckpt", "last.ckpt")
_NEMO_1 = "with NeMo 1: scripts/checkpoint_converters/convert_<family>_nemo_to_hf.py"
_NEMO_2 = 'with NeMo 2: nemo.collections.llm.export_ckpt(path="{0}", target="hf", output_path="./exported")'
_BRIDGE = 'with Megatron Bridge: AutoBridge.from_hf_pretrained("org/name").export_ckpt("{0}", "./exported")'


def archive_in(path: Path) -> Path | None:
    """The .nemo file that `path` is, or the only one in the directory that it is, if that holds no other model."""
    if path.suffix == SUFFIX and path.is_file():
        return path
    if not path.is_dir() or (path / "config.json").is_file():
        return None
    found = sorted(path.glob(f"*{SUFFIX}"))
    return found[0] if len(found) == 1 and found[0].is_file() else None


def refuse_foreign(directory: Path) -> ModelError | None:
    """The error, with how to export it, for a directory of NeMo's or Megatron's; None for others."""
    names = {path.name for path in directory.iterdir()}
    if {_CONFIG, "model_weights"} <= names or {_CONFIG, "model_weights.ckpt"} <= names:
        return _not_read(f"{directory} is an unpacked NeMo 1 checkpoint", _NEMO_1, "only archives are read")
    if {"weights", "context"} <= names:
        return _not_read(f"{directory} is a NeMo 2 checkpoint", _NEMO_2.format(directory))
    if "latest_checkpointed_iteration.txt" in names or any(name.startswith("mp_rank_") for name in names):
        return _not_read(f"{directory} is a Megatron checkpoint", _BRIDGE.format(directory))
    return None


def _not_read(what: str, how: str, why: str = "") -> UnsupportedModelError:
    why = why or "TensorRT-LLM 1.2.1 has no converter for it"
    return UnsupportedModelError(what, why=why, remedy=f"export it to Hugging Face's format {how}")


def resolve_archive(archive: Path, reference: str, models: Path, progress: Progress, *, weights: bool) -> Model:
    """The model in a .nemo file, whose tokenizer.json, and chat template if it has one, stand beside it."""
    directory = archive.absolute().parent
    names = frozenset(path.name for path in directory.iterdir() if path.is_file())
    check_links(directory, small_files(names))
    check_tokenizer(directory, names, str(directory))
    config, sizes = _read(archive)
    vocabulary = _vocabulary(read_json(directory / TOKENIZER, strict=False))
    model = Model(
        reference=reference,
        served_name=archive.stem,
        revision="",
        architecture=_facts(archive, config, vocabulary),
        weights=_weights(archive, config, sizes),
        config={"architectures": [ARCHITECTURE], "model_type": MODEL_TYPE, "torch_dtype": _dtype(config)},
        chat_template=has_chat_template(directory),
    )
    if not weights:
        return model
    progress.note(f"{archive.name} holds pickles, which can run code when they are read: use only files that you trust")
    selected = tuple(sorted({*small_files(names), archive.name}))
    revision = directory_revision(directory, selected, DigestCache(models / DIGESTS), progress)
    return replace(model, revision=revision, directory=directory, files=selected)


def _read(archive: Path) -> tuple[Mapping[str, Any], list[int]]:
    """Its configuration, and the sizes of its weight files."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isfile()]
            config = next((one for one in members if PurePosixPath(one.name).name == _CONFIG), None)
            file = tar.extractfile(config) if config else None
            document = parse_yaml(file.read(_MAX_CONFIG)) if file else None
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DamagedModelError(f"{archive} is damaged", why=str(error), remedy="copy the file again") from error
    if not isinstance(document, dict):
        raise DamagedModelError(f"{archive} has no {_CONFIG}", why="so it does not say what model it is")
    return document, _sizes(archive, members)


def _sizes(archive: Path, members: Iterable[tarfile.TarInfo]) -> list[int]:
    every = list(members)
    sizes = [one.size for one in every if one.name.endswith(_WEIGHTS)]
    if not sizes:
        distributed = any("model_weights" in PurePosixPath(one.name).parts for one in every)
        why = "its weights are distributed" if distributed else f"it has no {_WEIGHTS[0]}"
        raise _not_read(f"{archive} cannot be converted", _NEMO_1, f"{why}, which TensorRT-LLM 1.2.1 does not read")
    return sizes


def _vocabulary(tokenizer: Mapping[str, Any]) -> int:
    """Ids of tokenizer.json: of its model, a mapping or a list, and of what was added."""
    try:
        own = tokenizer.get("model", {}).get("vocab", ())
        ids = list(own.values()) if isinstance(own, dict) else [len(own) - 1]
        ids += [one["id"] for one in tokenizer.get("added_tokens", ())]
    except (AttributeError, KeyError, TypeError) as error:
        raise DamagedModelError(f"{TOKENIZER} is damaged", why=f"its vocabulary is malformed ({error!r})") from error
    return whole({"ids": max(filter(_is_id, ids), default=0)}, "ids", file=TOKENIZER, low=0) + 1


def _is_id(value: object) -> bool:
    return type(value) is int and value >= 0


def _facts(archive: Path, config: Mapping[str, Any], vocabulary: int) -> Architecture:
    def number(key: str, default: int | None = None) -> int:
        return whole(config, key, default, file=f"{_CONFIG} in {archive}")

    heads, hidden = number("num_attention_heads"), number("hidden_size")
    divisor = number("make_vocab_size_divisible_by", 128) * number("tensor_model_parallel_size", 1)
    return Architecture(
        name=ARCHITECTURE,
        model_type=MODEL_TYPE,
        layers=number("num_layers"),
        hidden_size=hidden,
        intermediate_size=number("ffn_hidden_size", 4 * hidden),
        heads=heads,
        kv_heads=number("num_query_groups", heads),
        head_size=number("kv_channels", hidden // heads),
        vocabulary_size=-(-vocabulary // divisor) * divisor,
        max_position_embeddings=number("max_position_embeddings", config.get("encoder_seq_length")),
        tied_embeddings=bool(config.get("share_embeddings_and_output_weights", True)),
    )


def _weights(archive: Path, config: Mapping[str, object], sizes: Iterable[int]) -> Weights:
    total, width = sum(sizes), 4 if _bits(config) == "32" else 2
    name = {"float16": "F16", "bfloat16": "BF16"}[_dtype(config)] if width == 2 else "F32"
    return Weights(total // width, {name: total}, (archive.name,))


def _dtype(config: Mapping[str, Any]) -> str:
    return "float16" if _bits(config) == "16" else "bfloat16"


def _bits(config: Mapping[str, object]) -> str:
    """NeMo's `precision`: 16, 32, bf16, 16-mixed, bf16-mixed..."""
    return str(config.get("precision", "bf16")).partition("-")[0]
