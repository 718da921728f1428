"""What a checkpoint's weights take: measured in the files' headers, or computed from the architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from stoker.errors import DamagedModelError
from stoker.resolve.facts import Config, text_config
from stoker.resolve.model import Architecture, Quantization, Weights
from stoker.resolve.parameters import count_parameters
from stoker.resolve.safetensors_header import DTYPE_BITS, Header

_DTYPES: Mapping[str, str] = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}
_EMBEDDINGS = ("embed_tokens.weight", "embeddings.word_embeddings.weight")
_SCALE_BITS = 16


def measured_weights(headers: Mapping[str, Header], parameters: int | None = None) -> Weights:
    """From every file's header; `parameters` replaces the count where quantised weights lie packed in fewer scalars."""
    sizes: Counter[str] = Counter()
    scalars = 0
    for header in headers.values():
        for tensor in header.tensors.values():
            sizes[tensor.dtype] += tensor.end - tensor.begin
            scalars += tensor.scalars
    return Weights(scalars if parameters is None else parameters, dict(sizes), tuple(sorted(headers)))


def check_embedding(headers: Mapping[str, Header], architecture: Architecture) -> None:
    """Raises DamagedModelError where the embedding has not one row for each id of config.json's vocabulary."""
    for file, header in headers.items():
        for name, tensor in header.tensors.items():
            table = name.endswith(_EMBEDDINGS) and tensor.shape[1:] == (architecture.hidden_size,)
            if table and tensor.shape[0] != architecture.vocabulary_size:
                raise DamagedModelError(
                    f"config.json: vocab_size is {architecture.vocabulary_size}",
                    why=f"{name} in {file} has {tensor.shape[0]} rows",
                    remedy="fetch or copy both files again, from the same revision",
                )


def indexed_weights(index: Config, config: Config, architecture: Architecture) -> Weights | None:
    """From the index's total size alone, if that is the architecture's size to the byte; else only headers can tell."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    expected = computed_weights(config, architecture, None)
    if total != expected.total_bytes or config.get("quantization_config"):
        return None
    return Weights(expected.parameters, expected.bytes_by_dtype, tuple(sorted(set(weight_map(index).values()))))


def computed_weights(config: Config, architecture: Architecture, quantization: Quantization | None) -> Weights:
    """Without any file. Quantised, the layers' matrices are taken to be packed, with one 16-bit scale a group."""
    count = count_parameters(config, architecture)
    dtype = checkpoint_dtype(config)
    width = DTYPE_BITS[dtype] // 8
    if quantization is None or not quantization.bits:
        return Weights(count.total, {dtype: count.total * width}, measured=False)
    scales = count.linear * _SCALE_BITS // (quantization.group_size * 8) if quantization.group_size else 0
    packed = {"I32" if quantization.bits < 8 else "I8": count.linear * quantization.bits // 8}
    return Weights(count.total, {**packed, dtype: count.other * width + scales}, measured=False)


def checkpoint_dtype(config: Config) -> str:
    """The safetensors name of config.json's `dtype` (formerly `torch_dtype`); float32 where it says nothing."""
    text = text_config(config)
    for source in (text, config):
        for key in ("dtype", "torch_dtype"):
            if source.get(key) is not None:
                return _DTYPES.get(str(source[key]), "BF16")
    return "F32"


def weight_map(index: Config) -> Mapping[str, str]:
    """The index's tensors and the files that hold them; raises DamagedModelError where it is malformed."""
    entries: object = index.get("weight_map")
    if not isinstance(entries, Mapping) or not entries or not all(map(_is_plain_name, entries.values())):
        raise DamagedModelError(
            "model.safetensors.index.json is damaged",
            why="its weight_map does not name the file of each tensor",
            remedy="fetch or copy the file again",
        )
    return entries


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and "/" not in name and "\\" not in name


def check_index(index: Config, headers: Mapping[str, Header]) -> None:
    """Raises DamagedModelError for the first tensor that its file does not hold."""
    for tensor, file in weight_map(index).items():
        if file not in headers or tensor not in headers[file].tensors:
            raise DamagedModelError(
                f"{file} is damaged",
                why=f"it lacks the tensor {tensor!r} that model.safetensors.index.json expects in it",
                remedy="fetch or copy both files again, from the same revision",
            )


def check_no_duplicates(headers: Mapping[str, Header]) -> None:
    """Raises DamagedModelError where two files hold a tensor of one name: which one counts would be a guess."""
    owner: dict[str, str] = {}
    for file, header in headers.items():
        for tensor in header.tensors:
            if owner.setdefault(tensor, file) != file:
                raise DamagedModelError(
                    f"{owner[tensor]} and {file} are inconsistent",
                    why=f"both hold the tensor {tensor!r}",
                    remedy="remove the file that does not belong to the model",
                )
